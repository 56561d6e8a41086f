import t from 'tap'
import {
  BB84,
  binaryEntropy,
  type Disturbance,
  GYS,
  keyRate,
  type LinkModelEffect,
  LinkModelNode,
  optimalMeanPhotons,
  QkdLink,
  type QkdLinkOptions,
  type QkdStep,
  randomStream,
} from '../../src/sim/index.ts'

const fibre = (dbPerKm: number, lengthKm: number) => 10 ** ((-dbPerKm * lengthKm) / 10)
/** A link on which nothing moves. */
const STILL = { attenuationStdDbPerKm: 0, rateStdRatio: 0, breakRatePerS: 0, delayStdMs: 0 }

function link(options: Partial<QkdLinkOptions> = {}, seed = 1): QkdLink {
  return new QkdLink({ link: 1, lengthKm: 20, ...options }, randomStream(seed, 'link 1'))
}

function steps(model: QkdLink, count: number, dtMs = 100): QkdStep[] {
  return Array.from({ length: count }, () => model.step(dtMs))
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function std(values: readonly number[]): number {
  const middle = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)))
}

function near(
  t: { ok: (value: boolean, text: string) => unknown },
  [value, wanted]: [number, number],
  ratio: number,
  what: string,
) {
  t.ok(
    Math.abs(value - wanted) <= ratio * Math.abs(wanted),
    `${what}: ${value}, wanted ${wanted} within ${100 * ratio} %`,
  )
}

t.test('binary entropy: h(1/2) = 1, h(0) = h(1) = 0, h(0.11) is a half', async (t) => {
  t.same([binaryEntropy(0.5), binaryEntropy(0), binaryEntropy(1)], [1, 0, 0])
  near(t, [binaryEntropy(0.11), 0.499916], 1e-5, 'h(0.11)')
})

t.test('the single-photon model gives the rates of the paper at QBER 2 %', async (t) => {
  const paper = { ...BB84, errorCorrection: 1 }
  const rate = (effectiveRatePerS: number, lengthKm: number) =>
    keyRate({ ...paper, effectiveRatePerS }, fibre(0.2, lengthKm)).rateBps
  near(t, [rate(1e5, 20), 14_275], 1e-3, '1e5 /s at 20 km')
  near(t, [rate(1e5, 50), 3586], 1e-3, '1e5 /s at 50 km')
  near(t, [rate(1.5e6, 20), 214e3], 1e-2, '1.5e6 /s at 20 km')
  near(t, [rate(1.5e7, 50), 538e3], 1e-2, '1.5e7 /s at 50 km')
  near(t, [keyRate(BB84, fibre(0.2, 20)).rateBps, 13_824], 1e-3, 'with f_EC 1.16')
})

t.test('background detections raise the QBER, (e_d S + B/2) / (S + B), until no key is left', async (t) => {
  const at = (backgroundPerS: number) => keyRate(BB84, 0.1, { backgroundPerS, errorRatio: 0 })
  near(t, [at(1000).qber, (200 + 500) / 11_000], 1e-12, 'QBER')
  t.ok(at(1000).rateBps < at(0).rateBps)
  t.equal(at(5000).rateBps, 0)
  t.equal(keyRate({ ...BB84, errorCorrection: 1 }, 0.1, { backgroundPerS: 0, errorRatio: 0.09 }).qber, 0.11)
  t.equal(keyRate(BB84, 0).rateBps, 0, 'a dark fibre')
  t.equal(keyRate(BB84, 1, { backgroundPerS: 0, errorRatio: 0.9 }).qber, 0.5, 'no worse than guessing')
})

t.test('decoy-state BB84 meets the published figures for the GYS experiment', async (t) => {
  near(t, [optimalMeanPhotons(GYS), 0.48], 5e-3, 'optimal mean photon number')
  const rate = (lengthKm: number, meanPhotons = GYS.meanPhotons) =>
    keyRate({ ...GYS, meanPhotons }, fibre(0.21, lengthKm)).rateBps
  t.ok(rate(141.5) > 0 && rate(142.5) === 0, 'cut-off at 142 km')
  t.ok(rate(50, 0.48) > rate(50, 0.44) && rate(50, 0.48) > rate(50, 0.52), 'the optimum is one')
  t.equal(optimalMeanPhotons({ ...GYS, misalignmentRatio: 0.2 }), 0, 'no mean photon number helps bad optics')
})

t.test('a still link gives its mean rate, in whole bits, none lost to rounding', async (t) => {
  const { rateBps } = keyRate(BB84, fibre(0.2, 20))
  const run = steps(link(STILL), 1000)
  t.ok(run.every((step) => Number.isInteger(step.bits) && step.up && Math.abs(step.rateBps - rateBps) < 1e-6))
  const bits = run.reduce((sum, step) => sum + step.bits, 0)
  t.ok(Math.abs(bits - rateBps * 100) < 1, `${bits} bits in 100 s`)
  t.same([...new Set(run.map((step) => step.changed))], [true, false], 'said once')
})

t.test('attenuation drifts with its standard deviation and correlation time, and does not lift the mean', async (t) => {
  const tauS = 60
  const model = link({ ...STILL, lengthKm: 50, attenuationStdDbPerKm: 0.04, attenuationTauS: tauS, rateTauS: 1e-9 })
  const run = steps(model, 200_000, 10_000)
  const db = run.map((step) => step.attenuationDb)
  near(t, [mean(db), 10], 0.01, 'mean loss, dB')
  near(t, [std(db), 2], 0.02, 'standard deviation, dB')
  const lagged = mean(db.slice(0, -6).map((value, i) => (value - 10) * ((db[i + 6] ?? 0) - 10)))
  near(t, [lagged / 4, Math.exp(-1)], 0.05, 'correlation after one correlation time')
  near(t, [mean(run.map((step) => step.rateBps)), keyRate(BB84, 0.1).rateBps], 0.02, 'mean rate')
})

t.test('the drift is exact: its law does not depend on the step', async (t) => {
  const spread = (dtMs: number) =>
    std(steps(link({ ...STILL, rateStdRatio: 0.05, rateTauS: 1 }), 20_000, dtMs).map((step) => step.rateBps))
  const wanted = 0.05 * keyRate(BB84, fibre(0.2, 20)).rateBps
  for (const dtMs of [100, 1000, 10_000]) near(t, [spread(dtMs), wanted], 0.08, `steps of ${dtMs} ms`)
})

t.test('the rate is never below 0, however noisy', async (t) => {
  const rates = steps(link({ rateStdRatio: 1 }), 5000).map((step) => step.rateBps)
  t.ok(Math.min(...rates) === 0 && Math.max(...rates) > 0)
})

/** Lengths of the runs of steps with the link down. */
function outagesMs(run: readonly QkdStep[], dtMs: number): number[] {
  const lengths: number[] = []
  let down = 0
  for (const { up } of run) {
    if (!up) down += dtMs
    else if (down > 0) {
      lengths.push(down)
      down = 0
    }
  }
  return lengths
}

t.test('breaks come at their rate and last 3 to 5 s, evenly', async (t) => {
  const run = steps(link({ ...STILL, breakRatePerS: 1 / 50 }), 500_000)
  const lengths = outagesMs(run, 100)
  const upS = run.filter(({ up }) => up).length / 10
  near(t, [lengths.length / upS, 1 / 50], 0.1, 'breaks a second up')
  t.ok(Math.min(...lengths) >= 3000 && Math.max(...lengths) <= 5000)
  near(t, [mean(lengths), 4050], 0.01, 'mean length, ms (ends fall on steps)')
  near(t, [std(lengths), 2000 / Math.sqrt(12)], 0.05, 'standard deviation of the length, ms')
  t.ok(
    run.every((step) => step.up || (step.rateBps === 0 && step.bits === 0)),
    'no key while it is down',
  )
})

t.test('the default link breaks about once in 5000 s', async (t) => {
  const lengths = outagesMs(steps(link(), 500_000, 2000), 2000)
  near(t, [lengths.length, 200], 0.2, 'breaks in a million seconds')
})

t.test('a forced cut takes the link down from its first to its last moment, and says so', async (t) => {
  const cut: Disturbance = { kind: 'cut', fromMs: 1000, toMs: 4000 }
  const run = steps(link({ ...STILL, disturbances: [cut] }), 60)
  t.equal(
    run.findIndex(({ up }) => !up),
    9,
    'down at the step that ends at 1 s',
  )
  t.same(outagesMs(run, 100), [3000])
  t.same(
    run.flatMap(({ changed }, i) => (changed ? [(i + 1) * 100] : [])),
    [100, 1000, 4000],
  )
})

t.test('after a break the rate rises over the recovery time', async (t) => {
  const cut: Disturbance = { kind: 'cut', fromMs: 0, toMs: 1000 }
  const run = steps(link({ ...STILL, rateTauS: 0.001, recoveryS: 2, disturbances: [cut] }), 40)
  const full = keyRate(BB84, fibre(0.2, 20)).rateBps
  const at = (tMs: number) => (run[tMs / 100 - 1]?.rateBps ?? Number.NaN) / full
  t.same([at(900), at(1000)], [0, 0])
  near(t, [at(2000), 0.5], 1e-6, 'half way')
  near(t, [at(3000), 1], 1e-6, 'all the way')
})

t.test('interference, background and added loss act while they last', async (t) => {
  const during = { fromMs: 1000, toMs: 2000 }
  const run = (disturbance: Disturbance) => steps(link({ ...STILL, rateTauS: 0.001, disturbances: [disturbance] }), 30)
  const pick = (all: QkdStep[]) => [all[8], all[15], all[25]]
  const emi = pick(run({ ...during, kind: 'emi', errorRatio: 0.03 })).map((step) => step?.qber.toFixed(3))
  t.same(emi, ['0.020', '0.050', '0.020'])
  const background = pick(run({ ...during, kind: 'background', backgroundPerS: 2000 })).map((step) =>
    step?.qber.toFixed(3),
  )
  t.same(background, ['0.020', '0.043', '0.020'])
  const bent = pick(run({ ...during, kind: 'attenuation', addedDb: 3 })).map((step) => step?.attenuationDb)
  t.same(bent, [4, 7, 4])
  const strong = run({ ...during, kind: 'emi', errorRatio: 0.3 })
  t.ok(strong[15]?.rateBps === 0 && strong[15].up, 'too many errors: no key, yet the link is up')
})

t.test('delay is 4.9 us/km and devices, wanders a little, and is never negative', async (t) => {
  t.equal(link(STILL).step(100).delayMs, 20 * 0.0049 + 0.5)
  t.equal(link({ ...STILL, delayMs: 7 }).step(100).delayMs, 7)
  const delays = steps(link({ ...STILL, delayMs: 1, delayStdMs: 0.2 }), 50_000).map((step) => step.delayMs)
  near(t, [mean(delays), 1], 0.02, 'mean')
  near(t, [std(delays), 0.2], 0.05, 'standard deviation')
  t.ok(Math.min(...steps(link({ delayMs: 0, delayStdMs: 1 }), 500).map((step) => step.delayMs)) >= 0)
})

t.test('options out of range are refused by name', async (t) => {
  t.throws(() => link({ lengthKm: -1 }), /lengthKm/)
  t.throws(() => link({ rateTauS: 0 }), /rateTauS/)
  t.throws(() => link({ breakRatePerS: Number.NaN }), /breakRatePerS/)
  t.throws(() => link({ breakDurationS: [5, 3] }), /breakDurationS/)
})

function node(seed = 1): LinkModelNode {
  const cut: Disturbance = { kind: 'cut', fromMs: 2000, toMs: 5000 }
  return new LinkModelNode({
    links: [1, 2].map(
      (number) =>
        new QkdLink(
          { link: number, lengthKm: 20, disturbances: number === 1 ? [cut] : [] },
          randomStream(seed, `link ${number}`),
        ),
    ),
  })
}

function play(model: LinkModelNode, untilMs: number, lateMs = 0): LinkModelEffect[] {
  const effects = [...model.handle({ kind: 'start', wallMs: 0 }, 0)]
  while (model.wakeAtMs !== undefined && model.wakeAtMs <= untilMs) {
    effects.push(...model.handle({ kind: 'wake' }, Math.min(untilMs, model.wakeAtMs + lateMs)))
  }
  return effects
}

t.test('the node generates key for all its links every 100 ms and reports breaks', async (t) => {
  const effects = play(node(), 6000)
  const downs = effects.flatMap((effect) =>
    effect.kind === 'linkState' && !effect.state.up ? [effect.state.link] : [],
  )
  t.same(downs, [1])
  const bits = (link: number) =>
    effects.reduce((sum, effect) => sum + (effect.kind === 'generated' && effect.link === link ? effect.bits : 0), 0)
  t.ok(bits(2) > 60_000 && bits(1) < bits(2) * 0.7, `${bits(1)} and ${bits(2)} bits`)
})

t.test('a run of the node depends on the seed alone, not on when it is woken', async (t) => {
  const text = (effects: LinkModelEffect[]) => JSON.stringify(effects)
  t.equal(text(play(node(), 60_000)), text(play(node(), 60_000)))
  t.equal(text(play(node(), 60_000)), text(play(node(), 60_000, 730)), 'late wakes are made up for')
  t.not(text(play(node(), 60_000)), text(play(node(2), 60_000)))
})

t.test('the node takes a disturbance while running, and makes no key once it drains', async (t) => {
  const model = node()
  play(model, 1000)
  model.handle({ kind: 'disturb', link: 2, disturbance: { kind: 'cut', fromMs: 0, toMs: 10_000 } }, 1000)
  model.handle({ kind: 'disturb', link: 9, disturbance: { kind: 'cut', fromMs: 0, toMs: 10_000 } }, 1000)
  const cut = model.handle({ kind: 'wake' }, 1100)
  t.ok(cut.some((effect) => effect.kind === 'linkState' && effect.state.link === 2 && !effect.state.up))
  model.handle({ kind: 'drain' }, 1100)
  const after = model.handle({ kind: 'wake' }, 12_000)
  t.notOk(after.some(({ kind }) => kind === 'generated'))
  t.ok(after.some((effect) => effect.kind === 'linkState' && effect.state.link === 2 && effect.state.up))
})
