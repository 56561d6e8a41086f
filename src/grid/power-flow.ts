import type { CaseIndex, ComplexMatrix } from './admittance.ts'
import { busAdmittance, indexCase } from './admittance.ts'
import { at, solveDense } from './dense.ts'
import type { GridCase } from './grid-case.ts'
import { GridError } from './grid-case.ts'

/** A solved power flow; bus arrays in the order of `GridCase.buses`, machine arrays in that of `GridCase.machines`. */
export type PowerFlow = {
  readonly vmPu: Float64Array
  readonly vaRad: Float64Array
  readonly machineMw: Float64Array
  readonly machineMvar: Float64Array
  readonly lossesMw: number
  readonly iterations: number
  /** Largest mismatch left, pu. */
  readonly maxMismatchPu: number
}

const TOLERANCE_PU = 1e-12
/** Where rounding keeps the mismatch above the tolerance, a mismatch as small as this is a solution too. */
const ROUNDING_PU = 1e-9
const MAX_ITERATIONS = 30

/**
 * Newton-Raphson in polar coordinates from a flat start, to 1e-12 pu; reactive limits are not enforced.
 *
 * @throws GridError when the case is inconsistent or does not converge.
 */
export function solvePowerFlow(grid: GridCase): PowerFlow {
  const flow = new NewtonRaphson(grid, indexCase(grid))
  let mismatch = flow.mismatch()
  let iterations = 0
  while (mismatch > TOLERANCE_PU && iterations < MAX_ITERATIONS) {
    if (!flow.improve()) throw new GridError(`${grid.name}: power flow is singular at iteration ${iterations}`)
    const next = flow.mismatch()
    iterations++
    if (next < ROUNDING_PU && next >= mismatch) break
    mismatch = next
  }
  if (!(mismatch < ROUNDING_PU)) throw new GridError(`${grid.name}: power flow does not converge (${mismatch} pu)`)
  return flow.result(iterations)
}

class NewtonRaphson {
  readonly #grid: GridCase
  readonly #index: CaseIndex
  readonly #y: ComplexMatrix
  readonly #vm: Float64Array
  readonly #va: Float64Array
  readonly #p: Float64Array
  readonly #q: Float64Array
  readonly #pSet: Float64Array
  readonly #qSet: Float64Array
  /** Buses whose angle is unknown (all but the slack), and whose magnitude is (those without a machine). */
  readonly #angles: readonly number[]
  readonly #magnitudes: readonly number[]
  readonly #step: Float64Array

  constructor(grid: GridCase, index: CaseIndex) {
    const n = grid.buses.length
    this.#grid = grid
    this.#index = index
    this.#y = busAdmittance(grid, index)
    this.#vm = new Float64Array(n).fill(1)
    this.#va = new Float64Array(n).fill((grid.slackAngleDeg * Math.PI) / 180)
    this.#p = new Float64Array(n)
    this.#q = new Float64Array(n)
    this.#pSet = Float64Array.from(grid.buses, (bus) => -bus.loadMw / grid.baseMva)
    this.#qSet = Float64Array.from(grid.buses, (bus) => -bus.loadMvar / grid.baseMva)
    grid.machines.forEach((machine, k) => {
      const i = index.busOfMachine[k] ?? -1
      this.#vm[i] = machine.vSetPu
      this.#pSet[i] = at(this.#pSet, i) + machine.pMw / grid.baseMva
    })
    const positions = grid.buses.map((_, i) => i)
    this.#angles = positions.filter((i) => grid.buses[i]?.bus !== grid.slackBus)
    this.#magnitudes = positions.filter((i) => !index.busOfMachine.includes(i))
    this.#step = new Float64Array(this.#angles.length + this.#magnitudes.length)
  }

  /** Computes the injections; keeps the mismatch vector for `improve` and gives its largest entry. */
  mismatch(): number {
    this.#inject()
    let worst = 0
    const note = (row: number, value: number): void => {
      this.#step[row] = value
      if (!(Math.abs(value) <= worst)) worst = Math.abs(value)
    }
    this.#angles.forEach((i, row) => {
      note(row, at(this.#pSet, i) - at(this.#p, i))
    })
    this.#magnitudes.forEach((i, row) => {
      note(this.#angles.length + row, at(this.#qSet, i) - at(this.#q, i))
    })
    return worst
  }

  /** One Newton step. @returns false when the Jacobian is singular. */
  improve(): boolean {
    if (!solveDense(this.#jacobian(), this.#step, this.#step.length)) return false
    this.#angles.forEach((i, row) => {
      this.#va[i] = at(this.#va, i) + at(this.#step, row)
    })
    this.#magnitudes.forEach((i, row) => {
      this.#vm[i] = at(this.#vm, i) + at(this.#step, this.#angles.length + row)
    })
    return true
  }

  result(iterations: number): PowerFlow {
    const maxMismatchPu = this.mismatch()
    const { baseMva, buses } = this.#grid
    const output = (injected: Float64Array, load: 'loadMw' | 'loadMvar'): Float64Array =>
      Float64Array.from(this.#index.busOfMachine, (i) => at(injected, i) * baseMva + (buses[i]?.[load] ?? 0))
    return {
      vmPu: this.#vm,
      vaRad: this.#va,
      machineMw: output(this.#p, 'loadMw'),
      machineMvar: output(this.#q, 'loadMvar'),
      lossesMw: this.#p.reduce((sum, p) => sum + p, 0) * baseMva,
      iterations,
      maxMismatchPu,
    }
  }

  #inject(): void {
    const n = this.#vm.length
    for (let i = 0; i < n; i++) {
      let p = 0
      let q = 0
      for (let k = 0; k < n; k++) {
        const g = at(this.#y.re, i * n + k)
        const b = at(this.#y.im, i * n + k)
        if (g === 0 && b === 0) continue
        const angle = at(this.#va, i) - at(this.#va, k)
        p += at(this.#vm, k) * (g * Math.cos(angle) + b * Math.sin(angle))
        q += at(this.#vm, k) * (g * Math.sin(angle) - b * Math.cos(angle))
      }
      this.#p[i] = p * at(this.#vm, i)
      this.#q[i] = q * at(this.#vm, i)
    }
  }

  #jacobian(): Float64Array {
    const size = this.#step.length
    const half = this.#angles.length
    const jacobian = new Float64Array(size * size)
    this.#angles.forEach((i, row) => {
      this.#angles.forEach((k, column) => {
        jacobian[row * size + column] = this.#derivative(i, k).pByAngle
      })
      this.#magnitudes.forEach((k, column) => {
        jacobian[row * size + half + column] = this.#derivative(i, k).pByMagnitude
      })
    })
    this.#magnitudes.forEach((i, row) => {
      this.#angles.forEach((k, column) => {
        jacobian[(half + row) * size + column] = this.#derivative(i, k).qByAngle
      })
      this.#magnitudes.forEach((k, column) => {
        jacobian[(half + row) * size + half + column] = this.#derivative(i, k).qByMagnitude
      })
    })
    return jacobian
  }

  /** Derivatives of the injections at bus i by angle and magnitude at bus k. */
  #derivative(i: number, k: number) {
    const n = this.#vm.length
    const g = at(this.#y.re, i * n + k)
    const b = at(this.#y.im, i * n + k)
    const vi = at(this.#vm, i)
    const vk = at(this.#vm, k)
    if (i === k) {
      const p = at(this.#p, i)
      const q = at(this.#q, i)
      return {
        pByAngle: -q - b * vi * vi,
        pByMagnitude: p / vi + g * vi,
        qByAngle: p - g * vi * vi,
        qByMagnitude: q / vi - b * vi,
      }
    }
    const angle = at(this.#va, i) - at(this.#va, k)
    const along = g * Math.cos(angle) + b * Math.sin(angle)
    const across = g * Math.sin(angle) - b * Math.cos(angle)
    return {
      pByAngle: vi * vk * across,
      pByMagnitude: vi * along,
      qByAngle: -vi * vk * along,
      qByMagnitude: vi * across,
    }
  }
}
