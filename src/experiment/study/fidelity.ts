/** Whether virtual time tells what real sockets do: the same scenarios and seeds in both worlds. */
import type { RunMetrics } from './run-of.ts'
import { type Estimate, estimate } from './statistics.ts'

/** Metrics of one seed in both worlds. */
export type Pair = { readonly seed: number; readonly virtual: Measured; readonly live: Measured }
type Measured = Pick<
  RunMetrics,
  'valid' | 'invalidReasons' | 'pFull' | 'maxAbsDeltaFHz' | 'trrS' | 'keyUtilizationRatio' | 'frames'
>

const FIGURES = [
  { id: 'pFull', label: 'P_full', unit: '', bound: 0.02, digits: 4 },
  { id: 'maxAbsDeltaFHz', label: 'max |df|', unit: 'Hz', bound: 0.01, digits: 4 },
  { id: 'trrS', label: 'TRR', unit: 's', bound: 0.5, digits: 3 },
] as const

export type FidelityRow = {
  readonly id: (typeof FIGURES)[number]['id']
  readonly label: string
  readonly unit: string
  /** Live less virtual: mean over the seeds, with its interval. */
  readonly difference: Estimate | undefined
  /** The largest difference of a seed, whichever way. */
  readonly largest: number
  readonly bound: number
  /** The mean's interval lies within the bound. */
  readonly isWithin: boolean
}

/** Differences of the pairs whose two runs are valid. */
export function fidelityOf(pairs: readonly Pair[]): readonly FidelityRow[] {
  const valid = pairs.filter(({ virtual, live }) => virtual.valid && live.valid)
  return FIGURES.map(({ id, label, unit, bound }) => {
    const differences = valid.flatMap(({ virtual, live }) => {
      const [v, l] = [virtual[id], live[id]]
      return v === null || l === null ? [] : [l - v]
    })
    const difference = estimate(differences, `fidelity ${id}`)
    const isWithin = difference !== undefined && difference.low >= -bound && difference.high <= bound
    return {
      id,
      label,
      unit,
      difference,
      largest: differences.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
      bound,
      isWithin,
    }
  })
}

/** The comparison as text. */
export function fidelityText(pairs: readonly Pair[]): string {
  const number = (value: number | null, digits: number): string => (value === null ? '-' : value.toFixed(digits))
  const lines = ['seed  P_full virtual / live   max |df| virtual / live, Hz   TRR virtual / live, s']
  for (const { seed, virtual, live } of pairs) {
    const cells = FIGURES.map(({ id, digits }) => `${number(virtual[id], digits)} / ${number(live[id], digits)}`)
    const doubt = [virtual, live].flatMap(({ valid, invalidReasons }) => (valid ? [] : invalidReasons)).join('; ')
    lines.push(`${String(seed).padEnd(5)} ${cells.join('   ')}${doubt === '' ? '' : `   NOT VALID: ${doubt}`}`)
  }
  lines.push('', 'live less virtual: mean [95 % interval], largest of a seed, bound')
  for (const { label, unit, difference, largest, bound, isWithin } of fidelityOf(pairs)) {
    const text =
      difference === undefined
        ? 'no valid pair'
        : `${difference.mean.toFixed(4)} [${difference.low.toFixed(4)}, ${difference.high.toFixed(4)}], ${largest.toFixed(4)}`
    lines.push(`  ${label.padEnd(9)} ${text} ${unit}, ${bound} ${unit}: ${isWithin ? 'within' : 'NOT within'}`)
  }
  return `${lines.join('\n')}\n`
}
