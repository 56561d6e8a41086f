import type { GridCase } from './grid-case.ts'
import { GridError } from './grid-case.ts'
import { MAX_POWER_MW } from './request.ts'

/** What happens to the grid by itself, at a lab time. */
export type Disturbance =
  /** `mw` more load at a bus (negative: less), MW at the power-flow voltage. */
  | { readonly kind: 'loadStep'; readonly atMs: number; readonly bus: number; readonly mw: number }
  /** Loss of the machine at a bus. */
  | { readonly kind: 'trip'; readonly atMs: number; readonly bus: number }

/** @throws GridError for an unknown bus, a time or power out of range, or trips that leave no machine. */
export function checkDisturbances(grid: GridCase, disturbances: readonly Disturbance[]): void {
  const buses = new Set(grid.buses.map((bus) => bus.bus))
  const left = new Set(grid.machines.map((machine) => machine.bus))
  for (const disturbance of disturbances) {
    const what = `disturbance ${disturbance.kind} at bus ${disturbance.bus}`
    if (!buses.has(disturbance.bus)) throw new GridError(`${what}: unknown bus`)
    if (!(disturbance.atMs >= 0 && disturbance.atMs < Number.MAX_SAFE_INTEGER)) {
      throw new GridError(`${what}: atMs must be 0 or more, not ${disturbance.atMs}`)
    }
    if (disturbance.kind === 'loadStep') {
      if (Math.abs(disturbance.mw) <= MAX_POWER_MW) continue
      throw new GridError(`${what}: mw must be a number within +-${MAX_POWER_MW}, not ${disturbance.mw}`)
    }
    if (!left.delete(disturbance.bus)) throw new GridError(`${what}: no machine there, or lost before`)
    if (left.size === 0) throw new GridError(`${what}: the last machine`)
  }
}
