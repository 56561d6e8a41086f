/**
 * The problem as a mixed-integer linear program in CPLEX LP format, for other solvers: binaries y, one change variable s a
 * chain and step, the linear chance rows. The square of each deviation is replaced by tangents from below; with tangents at
 * the deviations of a solution its value is exact, so adding them until nothing changes solves the problem itself.
 */
import { at, intAt } from './arrays.ts'
import type { LinearRows, OptionPlan, RollingProblem } from './problem.ts'

/** Tangents of f^2: the deviations, Hz or pu, at which they touch, for each k; below 0 one-sided ones need none. */
export type Tangents = readonly (readonly number[])[]

/** Name of the binary of option m of chain l in step t. */
export function binaryName(l: number, m: number, t: number): string {
  return `y${l}_${m}_${t}`
}

/** Tangents evenly over what the deviations may become. */
export function evenTangents(problem: RollingProblem, count: number): Tangents {
  const { deviation, chains, steps, optionStart } = problem
  if (deviation === undefined) return []
  return Array.from({ length: deviation.count }, (_, k) => {
    let low = at(deviation.base, k)
    let high = low
    for (let l = 0; l < chains; l++) {
      for (let t = 0; t < steps; t++) {
        const moved: number[] = []
        for (let n = intAt(optionStart, l); n < intAt(optionStart, l + 1); n++)
          moved.push(pulseOf(problem, { n, t, k }))
        low += Math.min(...moved)
        high += Math.max(...moved)
      }
    }
    return Array.from({ length: count }, (_, i) => low + ((high - low) * i) / Math.max(1, count - 1))
  })
}

/** The program's text. */
export function milpText(problem: RollingProblem, rows: LinearRows, tangents: Tangents): string {
  const { chains, steps, optionStart, cost, switchCost, initial, deviation } = problem
  const objective: string[] = []
  const limits: string[] = []
  const binaries: string[] = []
  const bounds: string[] = []
  const use: string[][] = Array.from({ length: steps }, () => [])
  const moves: string[][] = Array.from({ length: deviation?.count ?? 0 }, () => [])
  for (let l = 0; l < chains; l++) {
    const first = intAt(optionStart, l)
    const width = intAt(optionStart, l + 1) - first
    for (let t = 0; t < steps; t++) {
      const names = Array.from({ length: width }, (_, m) => binaryName(l, m, t))
      limits.push(`${names.join(' + ')} = 1`)
      for (const [m, name] of names.entries()) {
        const n = first + m
        const value = at(cost, n * steps + t)
        binaries.push(name)
        if (value === Number.POSITIVE_INFINITY) bounds.push(`${name} = 0`)
        else if (value !== 0) objective.push(`${signed(value)} ${name}`)
        for (let row = t; row < steps; row++) {
          const bits = at(problem.meanBits, n) + at(rows.slopePerBit, row) * at(problem.varianceBits2, n)
          if (bits !== 0) use[row]?.push(`${signed(bits)} ${name}`)
        }
        for (const [k, terms] of moves.entries()) {
          const moved = pulseOf(problem, { n, t, k })
          if (moved !== 0) terms.push(`${signed(moved)} ${name}`)
        }
      }
      const change = `s${l}_${t}`
      const start = intAt(initial, l)
      if (t === 0 && start < 0) continue
      objective.push(`${signed(at(switchCost, l))} ${change}`)
      for (const [m, name] of names.entries()) {
        if (t === 0) limits.push(`${change} ${m === start ? '+' : '-'} ${name} >= ${m === start ? 1 : 0}`)
        else {
          const before = binaryName(l, m, t - 1)
          limits.push(`${change} - ${name} + ${before} >= 0`, `${change} + ${name} - ${before} >= 0`)
        }
      }
    }
  }
  for (const [t, terms] of use.entries()) {
    if (terms.length > 0) limits.push(`${terms.join(' ')} <= ${at(rows.capacityBits, t)}`)
  }
  const { unavoidable = 0 } = deviation ?? {}
  if (unavoidable > 0) {
    objective.push(`${signed(-unavoidable)} one`)
    bounds.push('one = 1')
  }
  for (const [k, terms] of moves.entries()) {
    bounds.push(`f${k} free`)
    limits.push(`f${k} ${terms.map(negated).join(' ')} = ${at(deviation?.base ?? NONE, k)}`)
    objective.push(`${signed(at(deviation?.weight ?? NONE, k))} q${k}`)
    for (const f of tangents[k] ?? []) {
      if (f <= 0 && k < (deviation?.oneSided ?? 0)) continue
      limits.push(`q${k} ${signed(-2 * f)} f${k} >= ${-f * f}`)
    }
  }
  return [
    'Minimize',
    ` cost: ${objective.join(' ')}`,
    'Subject To',
    ...limits.map((text, i) => ` r${i}: ${text}`),
    'Bounds',
    ...bounds.map((text) => ` ${text}`),
    'Binaries',
    ` ${binaries.join(' ')}`,
    'End',
    '',
  ].join('\n')
}

const NONE = new Float64Array(0)

function pulseOf(
  { deviation, steps }: RollingProblem,
  { n, t, k }: { readonly n: number; readonly t: number; readonly k: number },
): number {
  let moved = 0
  for (let r = 0; deviation !== undefined && r < deviation.rank; r++) {
    const { rank, gain, response } = deviation
    moved += at(gain, n * rank + r) * at(response, (k * rank + r) * steps + t)
  }
  return moved
}

function signed(value: number): string {
  return value < 0 ? `- ${-value}` : `+ ${value}`
}

function negated(term: string): string {
  return term.startsWith('-') ? `+${term.slice(1)}` : `-${term.slice(1)}`
}

/** The plan of a solution: the largest binary of each chain and step. */
export function planOfBinaries(problem: RollingProblem, value: (name: string) => number): OptionPlan {
  const { chains, steps, optionStart } = problem
  const plan = new Int32Array(chains * steps)
  for (let l = 0; l < chains; l++) {
    const width = intAt(optionStart, l + 1) - intAt(optionStart, l)
    for (let t = 0; t < steps; t++) {
      let most = Number.NEGATIVE_INFINITY
      for (let m = 0; m < width; m++) {
        const y = value(binaryName(l, m, t))
        if (y > most) {
          most = y
          plan[l * steps + t] = m
        }
      }
    }
  }
  return plan
}
