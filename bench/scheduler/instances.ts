/**
 * Instances for the scheduler's benchmark and tests: chains with the sizes of 104 messages, key that does not suffice for
 * all of them in OTP, and a next tick for warm starts.
 */
import { type DeviationTerm, type OptionPlan, type RollingProblem, unavoidableOf } from '../../src/scheduler/index.ts'
import { type Random, randomStream } from '../../src/sim/index.ts'

export type InstanceOptions = {
  readonly chains: number
  readonly steps: number
  /** Alternative paths a chain has; each gives an AES and an OTP option (default 1). */
  readonly paths?: number
  /** Whether the frequency counts (default true). */
  readonly frequency?: boolean
}

/** A problem with the key it was made from. */
export type Instance = { readonly problem: RollingProblem; readonly key: Key }

const STEP_S = 0.1
/** For a risk of 5 % in ten steps together. */
const Z = 2.5758293035489004
const AES_BITS = 128 / 64
const MESSAGE_BYTES = [16, 20, 20, 23, 27]

/** The instance of a seed: size, key and costs drawn at random. */
export function instance(seed: number, options: InstanceOptions): Instance {
  const { chains, steps, paths = 1, frequency = true } = options
  const random = randomStream(seed, `scheduler ${chains}x${steps}`)
  const width = 1 + 2 * paths
  const total = chains * width
  const optionStart = Int32Array.from({ length: chains + 1 }, (_, l) => l * width)
  const meanBits = new Float64Array(total)
  const varianceBits2 = new Float64Array(total)
  const cost = new Float64Array(total * steps)
  const switchCost = new Float64Array(chains)
  const initial = new Int32Array(chains)
  let otpBits = 0
  let otpBits2 = 0
  for (let l = 0; l < chains; l++) {
    const ratePerS = logUniform(random, 0.2, 20)
    const otp = 128 + 32 * Math.ceil(pick(random, MESSAGE_BYTES) / 4)
    const weight = logUniform(random, 0.2, 5)
    const needsOtp = random.uniform() < 0.75
    const dropCost = weight * (3 + 12 * random.uniform()) * STEP_S
    const degradeCost = needsOtp ? weight * STEP_S : 0
    switchCost[l] = weight * logUniform(random, 1e-3, 1) * STEP_S
    // The last tick's option is most often the one that fits.
    initial[l] = random.uniform() < 0.05 ? 0 : random.uniform() < 0.5 ? 1 : 2
    const hops = 2 + (random.uniform() < 0.3 ? 1 : 0)
    for (let m = 0; m < width; m++) {
      const n = l * width + m
      const path = m === 0 ? 0 : (m - 1) >> 1
      const kappa = m === 0 ? 0 : (m % 2 === 1 ? AES_BITS : otp) * (hops + path)
      meanBits[n] = kappa * ratePerS * STEP_S
      varianceBits2[n] = kappa * kappa * ratePerS * STEP_S
      const service = m === 0 ? dropCost : m % 2 === 1 ? degradeCost : 0
      cost.fill(service + path * 0.02 * weight * STEP_S, n * steps, (n + 1) * steps)
      if (m !== 2) continue
      otpBits += meanBits[n] ?? 0
      otpBits2 += varianceBits2[n] ?? 0
    }
    if (paths > 1 && random.uniform() < 0.2) forbid(random, cost, { l, width, steps })
  }
  const bufferBits = Z * Math.sqrt(otpBits2 * steps)
  const key = keyOf(random, { otpBits, bufferBits, steps })
  const problem = {
    chains,
    steps,
    optionStart,
    meanBits,
    varianceBits2,
    cost,
    switchCost,
    initial,
    ...rowsOf(key),
    z: new Float64Array(steps).fill(Z),
    ...(frequency && { deviation: frequencyOf(random, { chains, steps, width }) }),
  }
  return { problem, key }
}

/** A path of the chain is down for some steps. */
function forbid(
  random: Random,
  cost: Float64Array,
  { l, width, steps }: { readonly l: number; readonly width: number; readonly steps: number },
): void {
  const path = Math.floor((random.uniform() * (width - 1)) / 2)
  const [from, to] = [Math.floor(random.uniform() * steps), 1 + Math.floor(random.uniform() * steps)]
  for (const m of [1 + 2 * path, 2 + 2 * path]) {
    const n = l * width + m
    if (from < to) cost.fill(Number.POSITIVE_INFINITY, n * steps + from, n * steps + to)
  }
}

/**
 * Supply that pays for 30 to 80 % of what all chains would take in OTP, now and then with an outage; a stock of half a step to
 * twenty steps of that, over a buffer for the spread of the traffic, of which a share must be there at the end.
 */
function keyOf(
  random: Random,
  { otpBits, bufferBits, steps }: { readonly otpBits: number; readonly bufferBits: number; readonly steps: number },
): Key {
  const share = 0.3 + 0.5 * random.uniform()
  const stockBits = bufferBits + otpBits * logUniform(random, 0.5, 20)
  const outageAt = random.uniform() < 0.3 ? Math.floor(random.uniform() * steps) : -1
  const reserveBits = (stockBits - bufferBits) * random.uniform()
  const meanSupplyBits = otpBits * share
  const supplyBits = new Float64Array(steps)
  for (let t = 0; t < steps; t++) {
    const isOut = t >= outageAt && t < outageAt + 3 && outageAt >= 0
    supplyBits[t] = isOut ? 0 : meanSupplyBits * (0.9 + 0.2 * random.uniform())
  }
  return { stockBits, reserveBits, supplyBits, meanSupplyBits }
}

/** Stock, what must be left at the end, and what comes in. */
type Key = {
  readonly stockBits: number
  readonly reserveBits: number
  readonly supplyBits: Float64Array
  readonly meanSupplyBits: number
}

function rowsOf({ stockBits, reserveBits, supplyBits, meanSupplyBits }: Key) {
  const steps = supplyBits.length
  const availableBits = new Float64Array(steps)
  const supplySdBits = new Float64Array(steps)
  let supply = 0
  for (let t = 0; t < steps; t++) {
    availableBits[t] = stockBits + supply - (t === steps - 1 ? reserveBits : 0)
    supplySdBits[t] = 0.08 * meanSupplyBits * Math.sqrt(t)
    supply += supplyBits[t] ?? 0
  }
  return { availableBits, supplySdBits }
}

type Shape = { readonly chains: number; readonly steps: number; readonly width: number }

/** A deviation that the chains' set-points work against, counted at each step; two pulse shapes, of fast and slow units. */
function frequencyOf(random: Random, { chains, steps, width }: Shape): DeviationTerm {
  const rank = 2
  const count = steps
  const response = new Float64Array(count * rank * steps)
  for (let k = 0; k < count; k++) {
    for (let r = 0; r < rank; r++) {
      for (let t = 0; t <= k; t++) {
        response[(k * rank + r) * steps + t] = Math.exp(-(k - t) / (r === 0 ? 3 : 10)) * (r === 0 ? 1 : 0.6)
      }
    }
  }
  const gain = new Float64Array(chains * width * rank)
  for (let l = 0; l < chains; l++) {
    const units = (0.06 / chains) * random.uniform()
    const r = random.uniform() < 0.5 ? 0 : 1
    for (let m = 1; m < width; m++) gain[(l * width + m) * rank + r] = units
  }
  const deep = -0.05 - 0.1 * random.uniform()
  const base = Float64Array.from({ length: count }, (_, k) => deep * Math.exp(-k / 20))
  return { weight: new Float64Array(count).fill(5 * chains), count, oneSided: 0, rank, base, response, gain }
}

/** The instance of the next tick, after the first step of `plan`: one step on, with other key than was foreseen. */
export function nextTick(before: Instance, plan: OptionPlan, seed: number): Instance {
  const random = randomStream(seed, 'next tick')
  const { problem, key } = before
  const { chains, steps, optionStart, deviation } = problem
  let used = 0
  const initial = new Int32Array(chains)
  for (let l = 0; l < chains; l++) {
    const option = plan[l * steps] ?? 0
    initial[l] = option
    used += problem.meanBits[(optionStart[l] ?? 0) + option] ?? 0
  }
  const noise = 0.08 * key.meanSupplyBits * random.normal()
  const supplyBits = Float64Array.from({ length: steps }, (_, t) =>
    t + 1 < steps ? (key.supplyBits[t + 1] ?? 0) : key.meanSupplyBits * (0.9 + 0.2 * random.uniform()),
  )
  const stockBits = Math.max(0, key.stockBits + (key.supplyBits[0] ?? 0) - used + noise)
  const next = { ...key, stockBits, supplyBits }
  const base = deviation && Float64Array.from(deviation.base, (hz) => hz * (0.95 + 0.02 * random.normal()))
  return {
    key: next,
    problem: { ...problem, initial, ...rowsOf(next), ...(deviation && base && { deviation: { ...deviation, base } }) },
  }
}

/** Spreads for the linear rows: as if 60 % of the chains used OTP. */
export function guessedSpread(problem: RollingProblem): Float64Array {
  const { chains, steps, optionStart, varianceBits2 } = problem
  let variance = 0
  for (let l = 0; l < chains; l++) variance += 0.6 * (varianceBits2[(optionStart[l] ?? 0) + 2] ?? 0)
  return Float64Array.from({ length: steps }, (_, t) =>
    Math.sqrt((problem.supplySdBits[t] ?? 0) ** 2 + variance * (t + 1)),
  )
}

function logUniform(random: Random, low: number, high: number): number {
  return low * (high / low) ** random.uniform()
}

function pick(random: Random, values: readonly number[]): number {
  return values[Math.floor(random.uniform() * values.length)] ?? 0
}

/** How far the voltages of two buses lie outside their bands, which chains move either way; besides what counts in the problem. */
export function withVoltages(problem: RollingProblem, seed: number): RollingProblem {
  const random = randomStream(seed, 'voltages')
  const { chains, steps, optionStart, deviation } = problem
  const buses = 2
  const oneSided = buses * steps
  const count = oneSided + (deviation?.count ?? 0)
  const known = deviation?.rank ?? 0
  const rank = known + chains
  const response = new Float64Array(count * rank * steps)
  const base = new Float64Array(count)
  const weight = new Float64Array(count).fill(5e3 * chains)
  for (let bus = 0; bus < buses; bus++) {
    const outsidePu = -0.01 + 0.03 * random.uniform()
    const puPerMw = Array.from({ length: chains }, () => (2 * random.uniform() - 1.4) * (0.03 / chains))
    for (let k = 0; k < steps; k++) {
      base[bus * steps + k] = outsidePu
      for (let l = 0; l < chains; l++) {
        for (let t = 0; t <= k; t++) {
          response[((bus * steps + k) * rank + known + l) * steps + t] = (puPerMw[l] ?? 0) * (1 - Math.exp(t - k - 1))
        }
      }
    }
  }
  base.set(deviation?.base ?? [], oneSided)
  weight.set(deviation?.weight ?? [], oneSided)
  for (let k = oneSided; k < count; k++) {
    for (let r = 0; r < known; r++) {
      const from = ((k - oneSided) * known + r) * steps
      response.set(deviation?.response.subarray(from, from + steps) ?? [], (k * rank + r) * steps)
    }
  }
  const options = optionStart[chains] ?? 0
  const gain = new Float64Array(options * rank)
  for (let l = 0; l < chains; l++) {
    const first = optionStart[l] ?? 0
    for (let n = first; n < (optionStart[l + 1] ?? 0); n++) {
      gain.set(deviation?.gain.subarray(n * known, (n + 1) * known) ?? [], n * rank)
      if (n > first) gain[n * rank + known + l] = 1
    }
  }
  const term = { weight, count, oneSided, rank, base, response, gain }
  return { ...problem, deviation: { ...term, unavoidable: unavoidableOf(term, { optionStart, steps }) } }
}
