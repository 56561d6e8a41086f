/**
 * The jitter tables of netns/tables, from the same laws as the transport's: what `jitterDeviation` gives, at the middles of
 * 4,096 equal steps of probability, in units of 1/8192. `node build/test/netns/jitter-tables.js` writes the files anew.
 */
import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import type { JitterShape } from '../../src/sim/index.ts'

export const SHAPES = ['normal', 'uniform', 'pareto'] as const satisfies readonly JitterShape[]

const STEPS = 4096
/** NETEM_DIST_SCALE of the kernel. */
const SCALE = 8192

/** The deviation below which a part `p` of the delays lies, in units of the jitter. */
export function quantile(shape: JitterShape, p: number): number {
  switch (shape) {
    case 'normal':
      return normalQuantile(p)
    case 'uniform':
      return 2 * p - 1
    case 'pareto':
      return Math.min(4, (4 / 3) * (1 / Math.cbrt(1 - p) - 1.5))
  }
}

/** Text of a `.dist` file of tc. */
export function tableText(shape: JitterShape): string {
  const values = Array.from({ length: STEPS }, (_, i) =>
    Math.min(32_767, Math.round(SCALE * quantile(shape, (i + 0.5) / STEPS))),
  )
  const lines = Array.from({ length: STEPS / 8 }, (_, row) => ` ${values.slice(8 * row, 8 * row + 8).join(' ')}`)
  return [`# ${shape} jitter, ${STEPS} quantiles in units of 1/${SCALE}`, ...lines, ''].join('\n')
}

export function tablePath(shape: JitterShape): string {
  return `netns/tables/${shape}.dist`
}

/** By bisection of the distribution function, Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...). */
function normalQuantile(p: number): number {
  let [low, high] = [-6, 6]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (normalBelow(middle) < p) low = middle
    else high = middle
  }
  return (low + high) / 2
}

function normalBelow(x: number): number {
  let term = x
  let sum = x
  for (let k = 3; Math.abs(term) > 1e-17; k += 2) {
    term *= (x * x) / k
    sum += term
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const shape of SHAPES) writeFileSync(tablePath(shape), tableText(shape))
}
