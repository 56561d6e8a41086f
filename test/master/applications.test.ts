import t from 'tap'
import { Agc } from '../../src/master/agc.ts'
import { Measurements } from '../../src/master/measurements.ts'
import { Setpoints } from '../../src/master/setpoints.ts'
import { Shedding } from '../../src/master/shedding.ts'
import { type TaskEffect, type TaskSpec, TaskTable, type Way } from '../../src/master/tasks.ts'
import { cot, peekAsdu, replyTo } from '../../src/protocol/index.ts'
import { chain } from '../../src/scheduler/index.ts'
import { setpoint, trip } from '../nodes/asdus.ts'

const agcConfig = { periodMs: 4_000, kp: 0.1, kiPerS: 0.012, mwPerHz: 2367 }

t.test('AGC is proportional and integral on the shortage, split by share', async (t) => {
  const agc = new Agc({ ...agcConfig, units: [{ chain: 'a' }, { chain: 'b', share: 3 }] })
  const shortageMw = 0.1 * 2367
  const round = (commands: readonly { deltaMw: number }[]) =>
    commands.map(({ deltaMw }) => Math.round(deltaMw * 1e6) / 1e6)
  const split = (mw: number) => [mw / 4, (mw * 3) / 4].map((part) => Math.round(part * 1e6) / 1e6)
  t.same(round(agc.step(-0.1, 4_000)), split(0.1 * shortageMw), 'no time has passed: proportional alone')
  t.same(round(agc.step(-0.1, 8_000)), split(0.1 * shortageMw + 0.012 * shortageMw * 4))
})

t.test('AGC gives nothing while the frequency is unknown, and its integral stands still', async (t) => {
  const agc = new Agc({ ...agcConfig, kp: 0, units: [{ chain: 'a' }] })
  agc.step(-0.1, 0)
  t.same(agc.step(undefined, 4_000), [])
  t.equal(Math.round((agc.step(-0.1, 8_000)[0]?.deltaMw ?? 0) * 1e4), 113_616)
})

t.test('AGC at its limit does not wind up', async (t) => {
  const agc = new Agc({ ...agcConfig, units: [{ chain: 'a' }], limitMw: 10 })
  for (let i = 0; i < 100; i++) agc.step(-0.2, i * 4_000)
  t.same(agc.step(-0.2, 400_000), [{ chain: 'a', deltaMw: 10 }])
  const [first] = agc.step(0.05, 404_000)
  t.ok((first?.deltaMw ?? 0) < 10, 'turns back at the first step over nominal')
})

t.test('shedding trips once, below the threshold only', async (t) => {
  const shedding = new Shedding({ thresholdHz: -0.03, timeoutMs: 30_000, retryMs: 3_000, chains: ['s1', 's2'] })
  const steps = [undefined, 0.1, -0.03, -0.031, -0.2].map((deltaFHz) => shedding.step(deltaFHz))
  t.same(steps, [[], [], [], ['s1', 's2'], []])
})

t.test('set-points come as Poisson streams, the same for the same numbers', async (t) => {
  const run = () => {
    let state = 1
    const random = () => {
      state = (state * 48_271) % 2_147_483_647
      return state / 2_147_483_647
    }
    const units = [
      { chain: 'a', ratePerS: 0.05 },
      { chain: 'b', ratePerS: 0 },
    ]
    const setpoints = new Setpoints({ units, stepMw: 2, timeoutMs: 10_000 }, random, 0)
    return Array.from({ length: 1000 }, (_, i) => setpoints.step((i + 1) * 100_000)).flat()
  }
  const commands = run()
  t.ok(Math.abs(commands.length - 5_000) < 5 * Math.sqrt(5_000), `${commands.length} of 5000 expected`)
  t.ok(commands.every((command) => command.chain === 'a' && Math.abs(command.deltaMw) <= 2))
  t.same(run(), commands)
})

t.test(
  'the frequency of the centre of inertia: weighted, fresh and valid values only, if there are enough',
  async (t) => {
    const machines = [
      { ca: 1, ioa: 1, weight: 1 },
      { ca: 1, ioa: 2, weight: 3 },
      { ca: 2, ioa: 1, weight: 4 },
    ]
    const measurements = new Measurements({ machines, staleMs: 1_000 })
    const set = (ca: number, ioa: number, value: number, tagWallMs: number, isValid = true) =>
      measurements.set(ca, ioa, { value, tagWallMs, isValid })
    set(1, 1, -0.1, 0)
    set(1, 2, -0.2, 0)
    t.equal(Math.round((measurements.coiHz(500) ?? 0) * 1e4), -1750)
    set(2, 1, -0.3, 900)
    t.equal(Math.round((measurements.coiHz(1_000) ?? 0) * 1e4), Math.round(((-0.1 - 0.6 - 1.2) / 8) * 1e4))
    t.equal(measurements.coiHz(1_500), -0.3, 'the others are stale')
    set(2, 1, 5, 800)
    t.equal(measurements.get(2, 1)?.value, -0.3, 'a late arrival does not replace a newer value')
    set(2, 1, -0.3, 1_000, false)
    t.equal(measurements.coiHz(1_500), undefined)
  },
)

t.test('voltages by bus: those that are asked for, fresh, valid and a number', async (t) => {
  const voltages = [
    { bus: 3, ca: 1, ioa: 3003 },
    { bus: 4, ca: 2, ioa: 3004 },
    { bus: 4, ca: 3, ioa: 3004 },
  ]
  const measurements = new Measurements({ machines: [], voltages, staleMs: 1_000 })
  const set = (ca: number, ioa: number, value: number, tagWallMs: number, isValid = true) =>
    measurements.set(ca, ioa, { value, tagWallMs, isValid })
  const seen = (nowWallMs: number) => [...(measurements.voltagesPu(nowWallMs) ?? [])]
  t.same(seen(0), [])
  set(1, 3003, 1.02, 0)
  set(2, 3004, 0.98, 500)
  set(1, 2003, 0.01, 0)
  t.same(seen(900), [
    [3, 1.02],
    [4, 0.98],
  ])
  t.same(seen(1_200), [[4, 0.98]], 'the other one is stale')
  set(3, 3004, 0.97, 600)
  t.same(seen(1_200), [[4, 0.97]], 'of two devices at a bus the last one counts')
  set(3, 3004, 0.97, 700, false)
  t.same(seen(1_200), [[4, 0.98]], 'while it is valid')
  set(2, 3004, Number.NaN, 800)
  t.same(seen(1_200), [])
  t.equal(new Measurements({ machines: [], staleMs: 1_000 }).voltagesPu(0), undefined, 'nobody asks')
})

const terms = { requiredSuite: 'otp', ratePerS: 1, apduBytes: 22 } as const
const shed = chain({
  id: 'shed',
  taskType: 'shedding',
  priority: 0,
  deadlineMs: 1_000,
  path: ['m', 'g', 'r', 'i'],
  ...terms,
})
const unit = chain({
  id: 'unit',
  taskType: 'agc',
  priority: 1,
  deadlineMs: 2_000,
  path: ['m', 'g', 'r', 'u'],
  ...terms,
})

/** A table with one way for all chains, and what it asked for. */
function table(requeueMs?: number) {
  const tasks = new TaskTable(requeueMs)
  const seen: TaskEffect[] = []
  let way: Way = { suite: 'otp', link: 1 }
  const take = () => void seen.push(...tasks.takeEffects())
  return {
    tasks,
    setWay: (next: Way) => {
      way = next
    },
    step: (nowMs: number) => {
      tasks.step(() => way, nowMs)
      take()
    },
    answer: (
      asdu: Uint8Array,
      cause: number,
      nowMs: number,
      more: { negative?: boolean; suite?: 'otp' | 'aes' } = {},
    ) => {
      const reply = replyTo(asdu, { cot: cause, negative: more.negative ?? false })
      const view = peekAsdu(reply)
      if (view !== undefined) tasks.onAnswer(reply, view, more.suite ?? 'otp', nowMs)
      take()
    },
    sends: () => seen.flatMap((effect) => (effect.kind === 'send' ? [effect] : [])),
    done: () => {
      take()
      return seen.flatMap((effect) =>
        effect.kind === 'event' && effect.event.name === 'task.done' ? [effect.event] : [],
      )
    },
  }
}

const shedAsdu = trip(1, 700)
const shedSpec: TaskSpec = {
  chain: shed,
  ca: 1,
  ioa: 700,
  typeId: 45,
  asdu: shedAsdu,
  timeoutMs: 30_000,
  retryMs: 3_000,
  waitsWhenOff: true,
}
const unitSpec = (value: number): TaskSpec => ({
  ...{ chain: unit, ca: 1, ioa: 800, typeId: 50, asdu: setpoint(1, 800, value), timeoutMs: 4_000, replaces: true },
})

t.test('a task is ok when its effect is told in time in the required suite, delivered in a lesser one', async (t) => {
  const run = (atMs: number, suite: 'otp' | 'aes') => {
    const { tasks, step, answer, done } = table()
    tasks.issue(shedSpec, 0)
    step(0)
    answer(shedAsdu, cot.activationCon, 50, { suite })
    answer(shedAsdu, cot.activationTermination, atMs, { suite })
    return [...done(), tasks.counts]
  }
  t.match(run(600, 'otp'), [
    { ok: true, delivered: true, latencyMs: 600, suite: 'otp', reason: 'done' },
    { ok: 1, late: 0 },
  ])
  t.match(run(600, 'aes'), [
    { ok: false, delivered: true, reason: 'suite' },
    { ok: 0, late: 1 },
  ])
  t.match(run(1_001, 'otp'), [
    { ok: false, delivered: false, reason: 'late' },
    { ok: 0, late: 1 },
  ])
})

t.test('a task of a chain that is off waits if it may, else ends at its deadline', async (t) => {
  const { tasks, step, setWay, sends, done } = table()
  setWay({ suite: undefined, link: 1 })
  tasks.issue(shedSpec, 0)
  tasks.issue(unitSpec(1), 0)
  step(0)
  step(2_100)
  t.match(done(), [{ chain: 'unit', ok: false, reason: 'off' }])
  setWay({ suite: 'aes', link: 1 })
  step(2_200)
  t.match(sends(), [{ suite: 'aes', priority: 0, expiresAtMs: 30_000 }])
})

t.test('a task whose link is down is not off: it waits until its time is over', async (t) => {
  const { tasks, step, setWay, sends, done } = table()
  setWay({ suite: 'otp', link: undefined })
  tasks.issue(unitSpec(1), 0)
  step(3_000)
  t.same([sends(), done()], [[], []])
  step(4_000)
  t.match(done(), [{ reason: 'timeout' }])
})

t.test(
  'a command is sent again without confirmation, after a refusal and after its loss, until it is done',
  async (t) => {
    const { tasks, step, answer, sends, done } = table()
    tasks.issue(shedSpec, 0)
    step(0)
    const sent = { link: 1, suite: 'otp', queueMs: 0, keyWaitMs: 0 } as const
    tasks.onSent({ task: 't1', attempt: 1 }, sent, 100)
    step(3_000)
    t.equal(sends().length, 1)
    step(3_100)
    t.equal(sends().length, 2, 'no confirmation')
    tasks.onLost({ task: 't1', attempt: 1 }, 3_150)
    step(3_200)
    t.equal(sends().length, 2, 'the loss of an earlier attempt is no news')
    answer(shedAsdu, cot.activationCon, 3_300, { negative: true })
    step(6_300)
    t.equal(sends().length, 3, 'refused')
    tasks.onLost({ task: 't1', attempt: 3 }, 6_400)
    step(6_400)
    t.equal(sends().length, 4, 'lost')
    step(30_000)
    t.match(done(), [{ reason: 'timeout', latencyMs: 30_000 }])
  },
)

t.test('a command without retry ends when it is refused or unknown', async (t) => {
  const ends = [cot.activationCon, cot.unknownTypeId, cot.unknownCot, cot.unknownCa, cot.unknownIoa].map((cause) => {
    const { tasks, step, answer, done } = table()
    const spec = unitSpec(1)
    tasks.issue(spec, 0)
    step(0)
    answer(spec.asdu, cause, 100, { negative: true })
    return done()[0]?.['reason']
  })
  t.same(ends, ['refused', 'unknownType', 'unknownCause', 'unknownCa', 'unknownIoa'])
})

t.test('an AGC command is replaced by its successor, whose answer is told from its own late one', async (t) => {
  const { tasks, step, answer, sends, done } = table()
  const [first, second] = [unitSpec(1), unitSpec(2)]
  tasks.issue(first, 0)
  step(0)
  tasks.issue(second, 3_900)
  step(3_900)
  t.equal(sends().length, 2)
  answer(first.asdu, cot.activationTermination, 4_000)
  t.match(done(), [{ task: 't1', reason: 'replaced' }])
  answer(second.asdu, cot.activationTermination, 4_100)
  t.match(done().at(-1), { task: 't2', ok: true, latencyMs: 200 })
})

t.test('a point has one command outstanding; the next one waits for its end', async (t) => {
  const { tasks, step, answer, sends } = table()
  const specs = [1, 2].map((value) => ({ ...unitSpec(value), replaces: false, timeoutMs: 10_000 }))
  for (const spec of specs) tasks.issue(spec, 0)
  step(0)
  step(100)
  t.equal(sends().length, 1)
  answer(specs[0]?.asdu ?? shedAsdu, cot.activationTermination, 200)
  step(300)
  t.equal(sends().length, 2)
})

t.test('with requeueMs a command is taken back from the queue and goes as the plan then says', async (t) => {
  const { tasks, step, setWay, sends } = table(500)
  tasks.issue(shedSpec, 0)
  step(0)
  t.equal(sends()[0]?.expiresAtMs, 500)
  tasks.onLost({ task: 't1', attempt: 1 }, 500)
  setWay({ suite: 'aes', link: 2 })
  step(500)
  t.match(sends()[1], { suite: 'aes', link: 2, attempt: { attempt: 2 } })
})
