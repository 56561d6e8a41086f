import type { CaseIndex } from './admittance.ts'
import { indexCase } from './admittance.ts'
import { at } from './dense.ts'
import type { GridCase } from './grid-case.ts'
import { GridError } from './grid-case.ts'
import type { MachineModel } from './machine-dynamics.ts'
import { MachineDynamics } from './machine-dynamics.ts'
import { MachineStates } from './machine-states.ts'
import type { PowerFlow } from './power-flow.ts'
import { solvePowerFlow } from './power-flow.ts'
import { ReducedNetwork } from './reduced-network.ts'

/** Raster of the model, ms: the grid is looked at and changed at multiples of this. */
export const STEP_MS = 10
const STEP_S = STEP_MS / 1000
/** Two rasters are integrated at once where that is at most this many radians of the fastest mode. */
const MAX_STEP_RAD = 0.2
/** What the four slopes of a Runge-Kutta step count in the state at its end, and in the state half-way (third order). */
const END = [1 / 6, 1 / 3, 1 / 3, 1 / 6] as const
const HALF_WAY = [5 / 24, 1 / 6, 1 / 6, -1 / 24] as const

/**
 * Beyond this speed deviation of any machine, pu, the model's assumptions (torque taken as power, reactances at f0) no
 * longer hold, and real machines would have been tripped.
 */
const MAX_SPEED_PU = 0.1

/**
 * A power system in time: machines, governors and exciters on the reduced network. Starts in the steady state of the power
 * flow. Fourth-order Runge-Kutta with steps of 10 ms; of 20 ms where the machines swing slowly (39 buses, not 118), with the
 * dense output half-way, where a change makes it a step of 10 ms. With 20 ms the centre of inertia of the 39-bus case stays
 * within 3e-8 Hz of the reference after 400 MW at bus 16.
 *
 * Loads are constant admittances: `loadMw` is what the load takes at its power-flow voltage V0, and a change of dP MW
 * changes the conductance by dP / base / V0^2; so the power that really changes follows the voltage. Bus arguments are bus
 * numbers; an unknown one throws GridError.
 */
export class GridModel {
  readonly grid: GridCase
  readonly powerFlow: PowerFlow

  readonly #index: CaseIndex
  readonly #network: ReducedNetwork
  readonly #dynamics: MachineDynamics
  readonly #x: MachineStates
  readonly #stage: MachineStates
  readonly #slope: MachineStates
  /** Where the step under way ends, and began. */
  readonly #end: Float64Array
  readonly #start: Float64Array
  readonly #shown: Float64Array
  readonly #hasLongSteps: boolean
  /** The state is that half-way of the step under way. */
  #isHalfWay = false
  readonly #loadMw: Float64Array
  readonly #initialReference: Float64Array
  /** The network's solution belongs to the present state. */
  #solved = false
  #collapsed = false

  /** @throws GridError for a case that is inconsistent or has no solution. */
  constructor(grid: GridCase, model: MachineModel = 'twoaxis') {
    const n = grid.machines.length
    this.grid = grid
    this.#index = indexCase(grid)
    this.powerFlow = solvePowerFlow(grid)
    this.#network = new ReducedNetwork(grid, this.#index, this.powerFlow.vmPu)
    this.#dynamics = new MachineDynamics(grid, this.#network.yRed, model)
    this.#x = new MachineStates(n)
    this.#stage = new MachineStates(n)
    this.#slope = new MachineStates(n)
    this.#end = new Float64Array(8 * n)
    this.#start = new Float64Array(8 * n)
    this.#shown = new Float64Array(8 * n)
    this.#loadMw = Float64Array.from(grid.buses, (bus) => bus.loadMw)
    this.#hasLongSteps = 2 * STEP_S * this.#dynamics.fastestPerS() <= MAX_STEP_RAD
    this.#dynamics.start(this.#x, grid, this.powerFlow)
    this.#initialReference = this.#dynamics.reference.slice()
  }

  /** The integration has left the model's range (a machine beyond 0.1 pu speed deviation, or no number): it stands still. */
  get collapsed(): boolean {
    return this.#collapsed
  }

  /** Goes on by 10 ms. */
  step(): void {
    if (this.#collapsed) return
    const x = this.#x.all
    if (this.#isHalfWay) {
      this.#isHalfWay = false
      x.set(this.#end)
    } else if (this.#hasLongSteps) {
      this.#start.set(x)
      this.#integrate(2 * STEP_S, HALF_WAY)
      this.#isHalfWay = !this.#collapsed
    } else this.#integrate(STEP_S, END)
    if (this.#collapsed) return
    this.#solved = false
    this.#dynamics.limit(this.#x)
  }

  /** Load at a bus now, MW at the power-flow voltage. */
  loadMw(bus: number): number {
    return at(this.#loadMw, this.#busAt(bus))
  }

  /** Adds load to a bus (negative: takes it away). */
  addLoad(bus: number, mw: number): void {
    const i = this.#busAt(bus)
    this.#stopHere()
    this.#loadMw[i] = at(this.#loadMw, i) + mw
    this.#network.addConductance(i, mw / this.grid.baseMva / at(this.powerFlow.vmPu, i) ** 2)
    this.#solved = false
  }

  /** Disconnects the machine at a bus; loads stay. @throws GridError when it is the last one, or there is none. */
  trip(bus: number): void {
    const k = this.#machineAt(bus)
    if (!this.hasMachine(bus)) return
    if (this.#dynamics.connected.filter((c) => c).length === 1)
      throw new GridError('the last machine cannot be tripped')
    this.#stopHere()
    this.#dynamics.disconnect(k, this.#slope)
    this.#network.disconnect(k)
    this.#solved = false
  }

  /** A machine is connected at the bus. */
  hasMachine(bus: number): boolean {
    const k = this.#index.machine.get(bus)
    return k !== undefined && this.#dynamics.connected[k] === true
  }

  /** Sets a governor's load reference to its initial value plus `deltaMw`; without effect on a machine without governor. */
  setReference(bus: number, deltaMw: number): void {
    const k = this.#machineAt(bus)
    const machine = this.grid.machines[k]
    if (machine === undefined || machine.governor === null) return
    this.#stopHere()
    this.#dynamics.reference[k] = at(this.#initialReference, k) + deltaMw / machine.mBaseMva
  }

  /** Frequency deviation of the centre of inertia of the connected machines, Hz. */
  coiHz(): number {
    let momentum = 0
    let inertia = 0
    for (let i = 0; i < this.#dynamics.count; i++) {
      if (this.#dynamics.connected[i] !== true) continue
      inertia += this.#dynamics.inertiaS(i)
      momentum += this.#dynamics.inertiaS(i) * at(this.#x.speed, i)
    }
    return (momentum / inertia) * this.grid.f0Hz
  }

  /** Largest absolute speed deviation of a connected machine, Hz. */
  worstHz(): number {
    let worst = 0
    for (let i = 0; i < this.#dynamics.count; i++) {
      if (this.#dynamics.connected[i] === true) worst = Math.max(worst, Math.abs(at(this.#x.speed, i)))
    }
    return worst * this.grid.f0Hz
  }

  /** Frequency deviation at a bus, Hz: the machine's speed where one is connected, else the frequency divider. */
  frequencyHz(bus: number): number {
    const i = this.#busAt(bus)
    const n = this.#dynamics.count
    const k = this.#index.machine.get(bus)
    if (k !== undefined && this.#dynamics.connected[k] === true) return at(this.#x.speed, k) * this.grid.f0Hz
    const { divider } = this.#network
    const { speed } = this.#x
    let sum = 0
    for (let j = 0; j < n; j++) sum += (divider[i * n + j] ?? 0) * (speed[j] ?? 0)
    return sum * this.grid.f0Hz
  }

  /** Voltage magnitude at a bus, pu. */
  voltagePu(bus: number): number {
    this.#solve()
    const i = this.#busAt(bus)
    const n = this.#dynamics.count
    const { re, im } = this.#network.recovery
    const { eRe, eIm } = this.#dynamics
    let vRe = 0
    let vIm = 0
    for (let j = 0, entry = i * n; j < n; j++, entry++) {
      vRe += (re[entry] ?? 0) * (eRe[j] ?? 0) - (im[entry] ?? 0) * (eIm[j] ?? 0)
      vIm += (re[entry] ?? 0) * (eIm[j] ?? 0) + (im[entry] ?? 0) * (eRe[j] ?? 0)
    }
    return Math.sqrt(vRe * vRe + vIm * vIm)
  }

  /** Electrical output of the machine at a bus, MW; 0 when it is off. */
  powerMw(bus: number): number {
    this.#solve()
    const k = this.#machineAt(bus)
    return this.#dynamics.connected[k] === true ? at(this.#dynamics.electrical, k) * this.grid.baseMva : 0
  }

  /** Something changes: a step that is half-way ends here. */
  #stopHere(): void {
    if (!this.#isHalfWay) return
    this.#isHalfWay = false
    this.#x.all.set(this.#start)
    this.#integrate(STEP_S, END)
    this.#dynamics.limit(this.#x)
    this.#solved = false
  }

  /** From the state over `h` seconds: `#end` is that at the end, the state that of `weights`. */
  #integrate(h: number, weights: readonly [number, number, number, number]): void {
    const x = this.#x.all
    this.#end.set(x)
    this.#shown.set(x)
    this.#stage.all.set(x)
    this.#advance(h * END[0], h * weights[0], h / 2)
    this.#advance(h * END[1], h * weights[1], h / 2)
    this.#advance(h * END[2], h * weights[2], h)
    this.#advance(h * END[3], h * weights[3], 0)
    if (this.#inRange()) x.set(this.#shown)
    else this.#collapsed = true
  }

  /** One Runge-Kutta stage: slope at the stage, its shares of the results, the next stage `ahead` seconds from the start. */
  #advance(share: number, shownShare: number, ahead: number): void {
    const x = this.#x.all
    const end = this.#end
    const shown = this.#shown
    const stage = this.#stage.all
    const slope = this.#slope.all
    this.#dynamics.derive(this.#stage, this.#slope)
    for (let i = 0; i < x.length; i++) {
      const d = slope[i] ?? 0
      end[i] = (end[i] ?? 0) + share * d
      shown[i] = (shown[i] ?? 0) + shownShare * d
      stage[i] = (x[i] ?? 0) + ahead * d
    }
  }

  #inRange(): boolean {
    const n = this.#dynamics.count
    let total = 0
    for (let i = 0; i < this.#end.length; i++) total += at(this.#end, i)
    let fastest = 0
    for (let i = n; i < 2 * n; i++) fastest = Math.max(fastest, Math.abs(at(this.#end, i)))
    return Number.isFinite(total) && fastest < MAX_SPEED_PU
  }

  #solve(): void {
    if (this.#solved) return
    this.#dynamics.solve(this.#x)
    this.#solved = true
  }

  #busAt(bus: number): number {
    const i = this.#index.bus.get(bus)
    if (i === undefined) throw new GridError(`unknown bus ${bus}`)
    return i
  }

  #machineAt(bus: number): number {
    const k = this.#index.machine.get(bus)
    if (k === undefined) throw new GridError(`no machine at bus ${bus}`)
    return k
  }
}
