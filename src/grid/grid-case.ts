/**
 * What a power system case is: network, loads, dispatch and machine data, all as given by its source. Solutions (power
 * flow, initial states) are computed, never stored.
 *
 * Per unit values of the network are on `baseMva`; those of a machine, its governor and its exciter on the machine's
 * own rating `mBaseMva`.
 */

/** A bus: load and shunt. The bus' kind (PQ, PV, slack) follows from the machines and `slackBus`. */
export type GridBus = {
  readonly bus: number
  readonly loadMw: number
  readonly loadMvar: number
  /** Shunt susceptance as Mvar injected at 1 pu. */
  readonly shuntMvar: number
}

/** A line or transformer, pi model with the tap on the `from` side. */
export type GridBranch = {
  readonly from: number
  readonly to: number
  readonly r: number
  readonly x: number
  /** Total charging susceptance. */
  readonly b: number
  /** Off-nominal turns ratio, 1 for a line. */
  readonly ratio: number
  readonly shiftDeg: number
}

/** Steam turbine governor TGOV1 (PSS/E), non-windup valve limits, per unit on the machine's rating. */
export type Tgov1 = {
  readonly droop: number
  readonly t1S: number
  readonly t2S: number
  readonly t3S: number
  readonly dt: number
  readonly vMin: number
  readonly vMax: number
}

/** Simplified excitation system SEXS (PSS/E), non-windup field voltage limits. */
export type Sexs = {
  readonly k: number
  readonly taS: number
  readonly tbS: number
  readonly teS: number
  readonly eMin: number
  readonly eMax: number
}

/** A synchronous machine. Armature resistance is 0 and Xq' = Xd' (no transient saliency). */
export type Machine = {
  readonly bus: number
  /** Dispatch; at the slack bus a result of the power flow, the value here is ignored. */
  readonly pMw: number
  readonly vSetPu: number
  readonly mBaseMva: number
  /** Inertia constant H, s. */
  readonly hS: number
  /** Damping, pu power per pu speed. */
  readonly d: number
  readonly xd: number
  readonly xd1: number
  readonly xq: number
  readonly td01S: number
  readonly tq01S: number
  /** null: constant mechanical power. */
  readonly governor: Tgov1 | null
  readonly avr: Sexs
}

/** A power system. At most one machine a bus. */
export type GridCase = {
  readonly name: string
  readonly baseMva: number
  readonly f0Hz: number
  readonly slackBus: number
  readonly slackAngleDeg: number
  readonly buses: readonly GridBus[]
  readonly branches: readonly GridBranch[]
  readonly machines: readonly Machine[]
  /** Operators' zones by name (buses), where the case has any. */
  readonly zones?: Readonly<Record<string, readonly number[]>>
}

/** A case, a disturbance or an option that makes no sense: the caller's mistake, never a peer's. */
export class GridError extends Error {
  override readonly name = 'GridError'
}

/** Bus, load MW, load Mvar, shunt Mvar. */
export type BusRow = readonly [number, number, number, number?]

/** From, to, r, x, b, ratio, phase shift in degrees. */
export type BranchRow = readonly [number, number, number, number, number, number?, number?]

export function busOf([bus, loadMw, loadMvar, shuntMvar = 0]: BusRow): GridBus {
  return { bus, loadMw, loadMvar, shuntMvar }
}

export function branchOf([from, to, r, x, b, ratio = 1, shiftDeg = 0]: BranchRow): GridBranch {
  return { from, to, r, x, b, ratio, shiftDeg }
}
