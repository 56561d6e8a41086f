import { readFileSync } from 'node:fs'
import t from 'tap'
import { explanationText } from '../../src/cli/explain/explanation-text.ts'
import { parseScenario, planOf } from '../../src/experiment/index.ts'
import { type Chain, judge, type Plan, RollingPolicy, type VoltageResponses } from '../../src/scheduler/index.ts'
import { problemOf, Workplace } from '../../src/scheduler/rolling/tick-problem.ts'
import { randomStream } from '../../src/sim/index.ts'
import { make, options, policy, RESPONSES, type Situation, states, view } from './one-tick.ts'

t.test(
  'a chain that brings a voltage back into its band is worth its key, one that drives it out is not',
  async (t) => {
    // Of two chains that need the one-time pad or are off there is key for one.
    const padOnly = [1, 2].map((n) => make({ id: `c${n}`, allowedSuites: ['otp'], lossWeight: 10 + n }))
    const situation = { poolBits: 14_000, rateBps: 100 }
    const voltage: VoltageResponses = {
      weight: 1e6,
      bandPu: 0.005,
      buses: [{ bus: 8, referencePu: 1.01 }],
      chains: {
        c1: { mwPerHzS: 10, puPerMw: [Array.from({ length: 10 }, () => 1e-4)] },
        c2: { mwPerHzS: 10, puPerMw: [Array.from({ length: 10 }, () => -1e-4)] },
      },
    }
    const planned = (voltagePu: number | undefined, weight = 1e6) => {
      const responses = { ...RESPONSES, weight: 0, voltage: { ...voltage, weight } }
      const rolling = new RollingPolicy({ ...options(), responses })
      const voltagesPu = new Map(voltagePu === undefined ? [] : [[8, voltagePu]])
      let plan: Plan | undefined
      for (let tMs = 100; tMs <= 1000; tMs += 100) {
        plan = rolling.plan({ ...view({ ...situation, tMs }, padOnly), deltaFHz: -0.1, voltagesPu }, tMs)
      }
      return { states: plan && states(plan), detail: plan?.detail?.make() }
    }
    const plain = settledWith(padOnly, situation)
    t.same(planned(1.009), plain, 'within the band nothing changes')
    t.same(planned(undefined), plain, 'nor where no voltage is told')
    t.same(planned(0.99, 0), plain, 'nor when voltages do not count')
    t.same(plain.states, [0, 2], 'key goes to the chain that is worth more')
    t.same(planned(0.99).states, [2, 0], 'too low: to the one that lifts the voltage')
    t.same(planned(1.03).states, [0, 2], 'too high: to the one that lowers it')
    t.ok((planned(0.99).detail?.objective ?? 0) > (plain.detail?.objective ?? 0), 'what lies outside costs')
  },
)

t.test('a chain that drives a voltage out is off whatever key there is, and what it costs is explained', async (t) => {
  const [c1, c2] = [1, 2].map((n) => make({ id: n === 1 ? 'constructor' : 'c2', lossWeight: 1 }))
  if (c1 === undefined || c2 === undefined) return
  const puPerMw = [Array.from({ length: 10 }, () => -1e-4)]
  const voltage: VoltageResponses = {
    weight: 1e6,
    bandPu: 0.005,
    buses: [{ bus: 8, referencePu: 1.01 }],
    chains: { c2: { mwPerHzS: 10, puPerMw } },
  }
  const rolling = new RollingPolicy({ ...options(), responses: { ...RESPONSES, weight: 0, voltage } })
  const situation = { poolBits: 90_000, rateBps: 4_000 }
  let plan: Plan | undefined
  for (let tMs = 100; tMs <= 500; tMs += 100) {
    const seen = { ...view({ ...situation, tMs }, [c1, c2]), deltaFHz: -0.1, voltagesPu: new Map([[8, 0.99]]) }
    plan = rolling.plan(seen, tMs)
  }
  if (plan === undefined) return
  t.same(states(plan), [2, 0], 'the other one has its suite, though it has the name of a property of all objects')
  t.equal(plan.level, 'normal', 'no protect mode: it is not for key that it is off')
  t.equal(plan.decisions.get('c2')?.why, 'off: frequency and voltages are better without it')
  const detail = plan.detail?.make()
  const [part] = detail?.deviations ?? []
  t.match(part, { bus: 8 })
  t.ok(Math.abs((part?.worst ?? 0) - 0.015) < 1e-9, 'it stays 0.02 pu below its reference, of which 0.005 are free')
  t.ok(Math.abs((part?.cost ?? 0) - 10 * 1e6 * 0.015 ** 2) < 1e-6)
  t.ok(Math.abs((detail?.objective ?? 0) - 10 - (part?.cost ?? 0)) < 0.2, 'that, and a chain off for ten seconds')
  const [off, , otp] = detail?.chains[1]?.options ?? []
  t.equal(off?.gridCostPerS, 0)
  // 2 w f, at each of ten ends of steps, for 1 MW a second that takes 1e-4 pu away.
  t.ok(Math.abs((otp?.gridCostPerS ?? 0) - 2e6 * 0.015 * 1e-4 * 10) < 1e-6)
  const text = explanationText({
    atMs: 500,
    planMs: 500,
    level: 'normal',
    chains: [{ id: 'c2', state: 'off', path: 0, why: 'off', sinceMs: 100 }],
    detail: detail && { ...detail, tMs: 500 },
  })
  t.match(text, /voltage at bus 8 2\.25e\+3, at most 0\.0150 pu outside its band/)
  t.match(text, /otp 0 .* \+ grid 30\.0\/s = 30\.0\/s/)
  t.notOk(text.includes('NaN'))
})

/** As `planned` above, by a policy that knows of no grid. */
function settledWith(chains: readonly Chain[], situation: Omit<Situation, 'tMs'>) {
  const rolling = policy()
  let plan: Plan | undefined
  for (let tMs = 100; tMs <= 1000; tMs += 100) {
    plan = rolling.plan({ ...view({ ...situation, tMs }, chains), deltaFHz: -0.1 }, tMs)
  }
  return { states: plan && states(plan), detail: plan?.detail?.make() }
}

t.test(
  'a scenario’s `voltageWeight` brings responses with the plan, and the centre looks at the voltages it is told',
  async (t) => {
    const text = readFileSync('scenarios/ieee39.yaml', 'utf8')
    const plan = planOf(
      parseScenario(
        text.replace('{ policy: greedy, tickMs: 100 }', '{ policy: rolling, rolling: { voltageWeight: 1e5 } }'),
        'ieee39.yaml',
      ),
    )
    const { voltage } = plan.scheduler.responses ?? {}
    t.equal(voltage?.weight, 1e5)
    t.same(Object.keys(voltage?.chains ?? {}), ['agc-30', 'agc-33', 'agc-34', 'agc-36'])
    t.equal(voltage?.buses.length, 18)
    const b = voltage?.buses.findIndex(({ bus }) => bus === 24) ?? -1
    const puPerMw = (chain: string) => voltage?.chains[chain]?.puPerMw[b]?.at(-1) ?? 0
    t.ok(
      puPerMw('agc-30') > 2e-6 && puPerMw('agc-36') < -2e-6,
      'power from afar lifts bus 24, from nearby it lowers it',
    )
    const [master] = plan.nodes
    const asked = master?.kind === 'master' ? master.config.measurements.voltages : undefined
    t.match(
      asked?.find(({ bus }) => bus === 24),
      { ca: 7, ioa: 3024 },
    )
    const unasked = planOf(parseScenario(text, 'ieee39.yaml')).nodes[0]
    t.equal(unasked?.kind === 'master' && unasked.config.measurements.voltages, undefined)
  },
)

t.test('what two plans differ by is what they do to chains, frequency and voltages, counted by hand', async (t) => {
  const random = randomStream(1, 'voltages')
  const steps = 5
  const stepMs = 1_000
  const chains = ['a', 'b', 'c'].map((id, n) => make({ id, allowedSuites: ['otp'], lossWeight: 1 + n }))
  const wrong: unknown[] = []
  let differ = 0
  for (let round = 0; round < 200; round++) {
    const noise = () => 2 * random.uniform() - 1
    const puPerMw = () => [1, 2, 3].map(() => Array.from({ length: steps }, () => 2e-3 * noise()))
    const voltage: VoltageResponses = {
      weight: 1e5,
      bandPu: 0.03,
      buses: [3, 4, 8].map((bus) => ({ bus, referencePu: 1 + 0.02 * noise() })),
      chains: { a: { mwPerHzS: 5, puPerMw: puPerMw() }, b: { mwPerHzS: 8, puPerMw: puPerMw() } },
    }
    const samples = [Array.from({ length: 60 }, (_, i) => 1e-3 * i)]
    const responses = { weight: 100, sampleS: 0.1, samples, decay: [1], unitsPerHz: { b: [8] }, voltage }
    const deltaFHz = 0.1 * noise()
    // That of bus 8 is not told, so it does not count.
    const voltagesPu = new Map([3, 4].map((bus) => [bus, 1 + 0.06 * noise()]))
    const zeros = new Float64Array(steps)
    const work = new Workplace(64).prepare(view({ tMs: 100, poolBits: 90_000, rateBps: 100 }, chains), new Map())
    const problem = problemOf(
      work,
      {
        tickMs: 100,
        stepMs,
        stockBits: 90_000,
        bufferBits: 0,
        end: { kind: 'mean', reserveBits: 0 },
        supplyBits: zeros,
        supplySdBits: zeros,
        otherBits: 0,
        otherSdBits: zeros,
        z: zeros,
        deltaFHz,
        voltagesPu,
      },
      responses,
    )
    const costOf = (plan: Int32Array) => {
      const isOn = (l: number, s: number) => (plan[l * steps + s] ?? 0) > 0
      const mwOf = (l: number, s: number) => (isOn(l, s) && l < 2 ? -(l === 0 ? 5 : 8) * deltaFHz : 0)
      let cost = 0
      for (let s = 0; s < steps; s++) {
        for (const [l, { lossWeight, switchWeight }] of chains.entries()) {
          if (!isOn(l, s)) cost += lossWeight
          if (s > 0 && plan[l * steps + s] !== plan[l * steps + s - 1]) cost += switchWeight
        }
        let hz = deltaFHz
        for (let at = 0; at <= s; at++) hz += mwOf(1, at) * 1e-3 * 10 * (s - at + 1)
        cost += 100 * hz * hz
        for (const [b, { bus, referencePu }] of voltage.buses.entries()) {
          const now = voltagesPu.get(bus)
          if (now === undefined) continue
          let pu = now
          for (let at = 0; at <= s; at++) {
            for (const [l, id] of ['a', 'b'].entries()) {
              pu += mwOf(l, at) * (voltage.chains[id]?.puPerMw[b]?.[s - at] ?? 0)
            }
          }
          cost += 1e5 * Math.max(0, Math.abs(pu - referencePu) - 0.03) ** 2
        }
      }
      return cost
    }
    // Options of a chain: off, and the one-time pad on either path; on the second it costs a little more, so it is left out.
    const anyPlan = () => Int32Array.from({ length: chains.length * steps }, () => (random.uniform() < 0.5 ? 1 : 0))
    const [one, other] = [anyPlan(), anyPlan()]
    const byHand = costOf(one) - costOf(other)
    const found = judge(problem, one).objective - judge(problem, other).objective
    if (Math.abs(byHand - found) > 1e-3 + 1e-6 * Math.abs(byHand)) wrong.push({ round, byHand, found })
    if ((problem.deviation?.oneSided ?? 0) > 0) differ++
  }
  t.same(wrong, [])
  t.ok(differ > 50, `in ${differ} of them a voltage counts`)
})
