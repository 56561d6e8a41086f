import { at } from './dense.ts'
import type { GridBranch, GridCase } from './grid-case.ts'
import { GridError } from './grid-case.ts'

/** A complex square matrix, row-major. */
export type ComplexMatrix = { readonly re: Float64Array; readonly im: Float64Array }

/** Where each bus number stands in `GridCase.buses`, and each machine's bus in `GridCase.machines`. */
export type CaseIndex = {
  readonly bus: ReadonlyMap<number, number>
  readonly machine: ReadonlyMap<number, number>
  /** Position in `buses` of the bus of each machine. */
  readonly busOfMachine: readonly number[]
}

/**
 * Indexes a case by bus number.
 *
 * @throws GridError when a branch, a machine or the slack names an unknown bus, or two buses or machines share a number.
 */
export function indexCase(grid: GridCase): CaseIndex {
  const bus = new Map(grid.buses.map((b, i) => [b.bus, i]))
  const machine = new Map(grid.machines.map((m, i) => [m.bus, i]))
  if (bus.size !== grid.buses.length) throw new GridError(`${grid.name}: two buses share a number`)
  if (machine.size !== grid.machines.length) throw new GridError(`${grid.name}: two machines share a bus`)
  if (!machine.has(grid.slackBus)) throw new GridError(`${grid.name}: no machine at the slack bus ${grid.slackBus}`)
  const position = (number: number): number => {
    const i = bus.get(number)
    if (i === undefined) throw new GridError(`${grid.name}: unknown bus ${number}`)
    return i
  }
  for (const branch of grid.branches) {
    if (position(branch.from) === position(branch.to))
      throw new GridError(`${grid.name}: branch ends meet at ${branch.to}`)
  }
  return { bus, machine, busOfMachine: grid.machines.map((m) => position(m.bus)) }
}

/** Bus admittance matrix: pi-model branches with complex taps, and bus shunts; no loads, no machines. */
export function busAdmittance(grid: GridCase, index: CaseIndex): ComplexMatrix {
  const n = grid.buses.length
  const y = { re: new Float64Array(n * n), im: new Float64Array(n * n) }
  for (const branch of grid.branches) addBranch(y, n, { branch, ...endsOf(branch, index) })
  grid.buses.forEach((bus, i) => {
    add(y, i * n + i, { re: 0, im: bus.shuntMvar / grid.baseMva })
  })
  return y
}

/** Positions of a branch's two buses. */
export function endsOf(branch: GridBranch, index: CaseIndex): { readonly from: number; readonly to: number } {
  return { from: index.bus.get(branch.from) ?? -1, to: index.bus.get(branch.to) ?? -1 }
}

type Complex = { readonly re: number; readonly im: number }
type PlacedBranch = { readonly branch: GridBranch; readonly from: number; readonly to: number }

/** Yff = (ys + jb/2)/t^2, Yft = -ys/(t e^-js), Ytf = -ys/(t e^js), Ytt = ys + jb/2. */
function addBranch(y: ComplexMatrix, n: number, { branch, from, to }: PlacedBranch): void {
  const z2 = branch.r * branch.r + branch.x * branch.x
  const g = branch.r / z2
  const b = -branch.x / z2
  const t = branch.ratio
  const cos = Math.cos((branch.shiftDeg * Math.PI) / 180) / t
  const sin = Math.sin((branch.shiftDeg * Math.PI) / 180) / t
  add(y, from * n + from, { re: g / (t * t), im: (b + branch.b / 2) / (t * t) })
  add(y, to * n + to, { re: g, im: b + branch.b / 2 })
  add(y, from * n + to, { re: -(g * cos - b * sin), im: -(g * sin + b * cos) })
  add(y, to * n + from, { re: -(g * cos + b * sin), im: -(b * cos - g * sin) })
}

function add(y: ComplexMatrix, i: number, value: Complex): void {
  y.re[i] = at(y.re, i) + value.re
  y.im[i] = at(y.im, i) + value.im
}
