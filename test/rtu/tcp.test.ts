/** The RTU's 104/TCP face: a third party's controlling station sees the lab's points and commands them. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { openSession } from '../../src/cli/client/session.ts'
import { StreamHub } from '../../src/cli/process/stream-hub.ts'
import { parseScenario, planOf } from '../../src/experiment/index.ts'
import { CONTROLLING_STATION_DEFAULTS, type CommandOperation } from '../../src/master/index.ts'
import { asduOf, cot, cp56, encodeAsdu, replyTo } from '../../src/protocol/index.ts'
import { RtuNode } from '../../src/rtu/index.ts'
import { drive, labClock } from '../../src/runtime/index.ts'
import { measured, setpoint, trip } from '../nodes/asdus.ts'
import { tell, WALL_MS } from '../nodes/harness.ts'
import { brief, rtuLab } from './lab.ts'

const tcp = { port: 2404 }

const command = (mode: CommandOperation['mode'], on = true): CommandOperation => ({
  ...{ kind: 'command', type: 'C_SC_NA_1', ca: 5, ioa: 700, mode },
  value: { sco: { on, qu: 0, select: false } },
})

/** Two IEDs have reported, and a controlling station is connected. */
function tcpLab(more: Parameters<typeof rtuLab>[0] = {}) {
  const lab = rtuLab({ tcp, points: [{ ioa: 1, group: 1 }], ...more })
  lab.report(measured(5, 1, 49.9))
  lab.reportB(measured(5, 11, 1.01))
  const master = lab.rtu.connect(1, lab.world.nowMs)
  lab.world.runTo(lab.world.nowMs + 10)
  const settle = (): void => {
    lab.world.input('rtu', { kind: 'wake' })
    lab.world.runTo(lab.world.nowMs + 50)
  }
  const got = (): string[] => master.got.splice(0)
  return { ...lab, master, settle, got }
}

t.test('it gets the events of before, interrogates, reads and sets the clock', async (t) => {
  const { world, master, got } = tcpLab()
  t.same(got(), ['M_EI_NA_1 4 0', 'M_ME_TF_1 3 1,11'])
  master.operate({ kind: 'interrogation', ca: 5, group: 0 }, world.nowMs)
  t.same(got(), ['C_IC_NA_1 7 0', 'M_ME_NC_1 20 1,11', 'C_IC_NA_1 10 0'])
  master.operate({ kind: 'interrogation', ca: 65_535, group: 1 }, world.nowMs)
  t.same(got(), ['C_IC_NA_1 7 0', 'M_ME_NC_1 21 1', 'C_IC_NA_1 10 0'])
  master.operate({ kind: 'read', ca: 5, ioa: 11 }, world.nowMs)
  master.operate({ kind: 'clockSync', ca: 5, time: cp56(WALL_MS + 10_000) }, world.nowMs)
  t.same(got(), ['M_ME_NC_1 5 11', 'C_CS_NA_1 7 0'])
  world.input('rtu', { kind: 'wake' })
  t.match(world.named('clock.set'), [{ connection: 1, ca: 5 }])
  master.operate({ kind: 'read', ca: 6, ioa: 11 }, world.nowMs)
  t.match(master.done.at(-1)?.result, { kind: 'refused', cot: cot.unknownCa })
})

t.test('its command goes to the IED, and the answers of the IED come back to it alone', async (t) => {
  const { world, master, iedA, up, report, settle, got, told } = tcpLab()
  got()
  up.received.length = 0
  told(iedA)
  master.operate(command('selectBeforeOperate'), world.nowMs)
  settle()
  t.match(iedA.received, [{ asdu: trip(5, 700), suite: 'aes' }])
  t.match(world.named('command.forwarded'), [{ connection: 1, ca: 5, ioa: 700, typeId: 45, toLink: 3 }])
  for (const cause of [cot.activationCon, cot.activationTermination]) {
    report(replyTo(trip(5, 700), { cot: cause, negative: false }))
  }
  const siq = { on: true, blocked: false, substituted: false, notTopical: false, invalid: false }
  const objects = [{ ioa: 2, value: { siq, time: cp56(WALL_MS) } }]
  report(encodeAsdu(asduOf('M_SP_TB_1', { cot: cot.returnInfoRemote, ca: 5, objects })))
  t.match(master.done.at(-1)?.result, { kind: 'confirmed', terminated: true })
  t.same(got(), ['C_SC_NA_1 7 700', 'C_SC_NA_1 7 700', 'C_SC_NA_1 10 700', 'M_SP_TB_1 11 2'])
  t.same(
    up.received.map(({ asdu }) => brief(asdu)),
    ['M_SP_TB_1 11 2'],
    'the centre gets the event, not the answers',
  )
  t.same(world.named('hop'), [], 'which are no hops of the centre’s commands')
})

t.test('a selection of the centre keeps it out, and the other way round', async (t) => {
  const { world, master, say, news, settle } = tcpLab()
  news()
  say(trip(5, 700, { select: true }))
  t.same(news(), ['C_SC_NA_1 7 700'])
  master.operate(command('direct'), world.nowMs)
  t.match(master.done.at(-1)?.result, { kind: 'refused', cot: cot.activationCon, negative: true })
  say(trip(5, 700, { cot: cot.deactivation, select: true }))
  master.operate(command('select'), world.nowMs)
  settle()
  news()
  say(trip(5, 700))
  t.same(news(), ['C_SC_NA_1 7- 700'])
})

t.test('the same command from both: each gets its confirmation, both the one termination', async (t) => {
  const { world, master, say, report, settle, got, news } = tcpLab()
  got()
  news()
  say(trip(5, 700))
  master.operate(command('direct'), world.nowMs)
  settle()
  for (const cause of [cot.activationCon, cot.activationCon, cot.activationTermination]) {
    report(replyTo(trip(5, 700), { cot: cause, negative: false }))
  }
  t.same(got(), ['C_SC_NA_1 7 700', 'C_SC_NA_1 10 700'])
  t.same(news(), ['C_SC_NA_1 7 700', 'C_SC_NA_1 10 700'])
})

t.test('a refused and an unreachable command', async (t) => {
  const { world, master, report, settle } = tcpLab()
  master.operate(command('direct', false), world.nowMs)
  settle()
  report(replyTo(trip(5, 700, { on: false }), { cot: cot.activationCon, negative: true }))
  t.match(master.done.at(-1)?.result, { kind: 'refused', cot: cot.activationCon })
  world.cut(3, true)
  world.runTo(world.nowMs + 45_000)
  master.operate(command('direct'), world.nowMs)
  t.match(master.done.at(-1)?.result, { kind: 'refused', cot: cot.activationCon })
})

t.test('cyclic telemetry comes as events, as the standard has it, and only while somebody listens', async (t) => {
  const { world, rtu, got, news, report } = tcpLab()
  got()
  news()
  report(measured(5, 1, 50, cot.periodic))
  t.same(got(), ['M_ME_TF_1 3 1'])
  t.same(news(), ['M_ME_TF_1 1 1'], 'the centre gets it as it is')
  rtu.disconnect(1, world.nowMs)
  const waiting = (): readonly number[] => rtu.node.stationStatus().groups.map(({ waitingEvents }) => waitingEvents)
  const before = waiting()
  for (let n = 0; n < 5; n++) report(measured(5, 1, n, cot.periodic))
  t.same(waiting(), before)
  report(measured(5, 1, 9))
  const back = rtu.connect(2, world.nowMs)
  t.same(back.got, [], 'another host')
})

t.test('what is malformed ends its connection and nothing else', async (t) => {
  const { world, rtu, master, say, news } = tcpLab()
  news()
  const frame = Uint8Array.of(0x68, 4 + 3, 0, 0, 0, 0, 45, 1, 6)
  rtu.feed({ kind: 'octets', connection: 1, bytes: frame }, world.nowMs)
  t.match(master.closed, /malformed/)
  rtu.feed({ kind: 'octets', connection: 77, bytes: frame }, world.nowMs)
  say(setpoint(5, 999, 1))
  t.same(news(), ['C_SE_NC_1 47- 999'])
})

t.test('without TCP there is no queue for it', async (t) => {
  const { rtu } = rtuLab()
  t.same(
    rtu.node.stationStatus().groups.map(({ name }) => name),
    ['centre'],
  )
})

t.test('an answer to somebody who has gone is nobody’s', async (t) => {
  const { world, rtu, master, iedA, up, settle, report } = tcpLab()
  master.operate(command('direct'), world.nowMs)
  settle()
  rtu.disconnect(1, world.nowMs)
  up.received.length = 0
  tell(world, 'iedA', iedA, { link: 3, asdu: replyTo(trip(5, 700), { cot: cot.activationCon, negative: false }) })
  report(replyTo(trip(5, 700), { cot: cot.activationTermination, negative: false }))
  t.same(up.received, [])
})

t.test('a scenario switches it on; groups are by kind of point', async (t) => {
  const text = readFileSync('scenarios/tiny.yaml', 'utf8')
  const configOf = (yaml: string) =>
    planOf(parseScenario(yaml, 'tiny')).nodes.find(({ kind }) => kind === 'rtu')?.config
  t.match(configOf(text), { tcp: undefined })
  t.match(configOf(text.replace('{ id: rtu1 }', '{ id: rtu1, tcp: {} }')), {
    tcp: { port: 2404 },
    points: [
      { ioa: 1003, group: 1 },
      { ioa: 2003, group: 2 },
      { ioa: 3003, group: 3 },
      { ioa: 2030, group: 2 },
      { ioa: 3030, group: 3 },
      { ioa: 4030, group: 4 },
    ],
  })
})

t.test('over real TCP', async (t) => {
  const ended = new AbortController()
  const node = new RtuNode({ id: 'rtu', ca: 5, upLinks: [], ieds: [], tcp: { port: 0 } })
  const hub = new StreamHub({ feed: (input) => driven.feed(input), log: () => {} })
  const driven = drive(node, {
    nowMs: labClock(process.hrtime.bigint()),
    carryOut: (effect) => {
      if (effect.kind === 'write' || effect.kind === 'close') hub.carryOut(effect)
    },
    signal: ended.signal,
  })
  driven.feed({ kind: 'start', wallMs: WALL_MS })
  const port = await hub.listen({ host: '127.0.0.1', port: 0 })
  const session = openSession({
    dial: { host: '127.0.0.1', port },
    station: CONTROLLING_STATION_DEFAULTS,
    observe: () => {},
  })
  const results = await Promise.all([
    session.operate({ kind: 'interrogation', ca: 5, group: 0 }),
    session.operate({ kind: 'clockSync', ca: 65_535 }),
    session.operate(command('direct')),
  ])
  t.match(
    results.map(({ result }) => result),
    [
      { kind: 'confirmed', stations: [5] },
      { kind: 'confirmed', stations: [5] },
      { kind: 'refused', cot: cot.unknownIoa },
    ],
  )
  session.close('done')
  await hub.close()
  ended.abort()
})
