/**
 * The shared chance row (32) over a window of steps, in the cumulative form: for every step tau
 *
 *   M_tau + z sqrt(sigma_tau^2 + V_tau) <= S_tau,   S_tau = stock + supply until tau - buffer (- reserve at the end)
 *
 * Chains keep their states over the window, so M_tau = (tau / H) M and V_tau = (tau / H) V with M, V over the window.
 */

export type ChanceInput = {
  /** Key in the pool now, bits. */
  readonly stockBits: number
  /** Expected supply of each step, bits. */
  readonly supplyBits: readonly number[]
  /** Standard deviation of the supply summed from the first step to each step, bits. */
  readonly supplyStdBits: readonly number[]
  /** Never planned with, bits. */
  readonly bufferBits: number
  /** Must be left at the end of the window, bits. */
  readonly reserveBits: number
  /** eps of (32) for the whole window, 0..0.5; Bonferroni over the steps. */
  readonly riskRatio: number
}

/** A linear row that implies all chance rows: key at the risk price <= budget. */
export type SharedRow = {
  readonly budgetBits: number
  readonly riskPriceBits: number
  readonly z: number
  /** The a of sqrt(X) <= X / 2a + a / 2 at the last step: the row is exact where sigma^2 + V = a^2. */
  readonly spreadBits: number
}

/**
 * The linear row at a given spread. With sqrt(X) = min_a (X / 2a + a / 2), every fixed a gives a safe row:
 * M + z V / 2a <= S - z sigma^2 / 2a - z a / 2. One row stands for all steps: the least right side and the largest price.
 * Smaller a at earlier steps widens their right sides but raises the price, so two ways are tried and the better is taken.
 *
 * @param spreadBits a at the last step. Best is sqrt(sigma^2 + V) of the last plan (`spreadOf`).
 */
export function sharedRow(input: ChanceInput, spreadBits: number): SharedRow {
  const { supplyBits, supplyStdBits, riskRatio } = input
  if (supplyBits.length === 0) throw new RangeError('a chance row needs at least one step')
  if (!(riskRatio > 0 && riskRatio <= 0.5)) throw new RangeError('riskRatio must be above 0 and at most 0.5')
  const z = normalQuantile(1 - riskRatio / supplyBits.length)
  const a = Math.max(1, spreadBits)
  const varianceBits2 = Math.max(0, a ** 2 - (supplyStdBits.at(-1) ?? 0) ** 2)
  const [flat, tapered] = [rowAt(input, { z, a, power: 0 }), rowAt(input, { z, a, power: 0.5 })]
  const leaves = (row: SharedRow) => row.budgetBits - row.riskPriceBits * varianceBits2
  return leaves(flat) >= leaves(tapered) ? flat : tapered
}

function rowAt(input: ChanceInput, { z, a, power }: { z: number; a: number; power: number }): SharedRow {
  const { stockBits, supplyBits, supplyStdBits, bufferBits, reserveBits } = input
  const steps = supplyBits.length
  let [budgetBits, riskPriceBits, supply] = [Infinity, 0, 0]
  for (let step = 0; step < steps; step++) {
    supply += supplyBits[step] ?? 0
    const share = (step + 1) / steps
    const spread = a * share ** power
    const sigma = supplyStdBits[step] ?? 0
    const right = stockBits + supply - bufferBits - (step === steps - 1 ? reserveBits : 0)
    // Divided by the share, so that M and V are those of the window.
    budgetBits = Math.min(budgetBits, (right - (z * sigma ** 2) / (2 * spread) - (z * spread) / 2) / share)
    riskPriceBits = Math.max(riskPriceBits, z / (2 * spread))
  }
  return { budgetBits: Math.max(0, Math.floor(budgetBits)), riskPriceBits, z, spreadBits: a }
}

/** The spread at which the row is exact for a plan of this variance. */
export function spreadOf(input: ChanceInput, varianceBits2: number): number {
  return Math.hypot(input.supplyStdBits.at(-1) ?? 0, Math.sqrt(varianceBits2))
}

/** Whether a plan of this mean and variance satisfies every chance row as it stands, square root and all. */
export function chanceHolds(input: ChanceInput, plan: { meanBits: number; varianceBits2: number }): boolean {
  const { stockBits, supplyBits, supplyStdBits, bufferBits, reserveBits, riskRatio } = input
  const z = normalQuantile(1 - riskRatio / supplyBits.length)
  let supply = 0
  return supplyBits.every((bits, step) => {
    supply += bits
    const share = (step + 1) / supplyBits.length
    const right = stockBits + supply - bufferBits - (step === supplyBits.length - 1 ? reserveBits : 0)
    const spread = Math.sqrt((supplyStdBits[step] ?? 0) ** 2 + share * plan.varianceBits2)
    return share * plan.meanBits + z * spread <= right + 1e-6
  })
}

/** Phi^-1 for 0 < p < 1: Newton's method on Phi from Abramowitz and Stegun 26.2.23, to about 1e-12. */
export function normalQuantile(p: number): number {
  if (!(p > 0 && p < 1)) throw new RangeError(`a probability above 0 and below 1 is needed, not ${p}`)
  if (p === 0.5) return 0
  if (p < 0.5) return -normalQuantile(1 - p)
  const t = Math.sqrt(-2 * Math.log(1 - p))
  let x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
  for (let i = 0; i < 4; i++) {
    const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
    x += (upperTail(x) - (1 - p)) / density
  }
  return x
}

/** 1 - Phi(x) for x > 0, by the continued fraction or, near 0, the series of the error function. */
function upperTail(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
  if (x > 3) {
    let fraction = 0
    for (let k = 60; k >= 1; k--) fraction = k / (x + fraction)
    return density / (x + fraction)
  }
  let [term, sum] = [x, x]
  for (let k = 1; k < 200 && Math.abs(term) > 1e-17 * Math.abs(sum); k++) {
    term *= (x * x) / (2 * k + 1)
    sum += term
  }
  return 0.5 - density * sum
}
