import type { ComplexMatrix } from './admittance.ts'
import { at } from './dense.ts'
import type { GridCase, Machine } from './grid-case.ts'
import type { MachineStates } from './machine-states.ts'
import type { PowerFlow } from './power-flow.ts'

/**
 * Two-axis machines (Sauer and Pai) with SEXS and TGOV1; or classical ones: constant E' behind j Xd', no exciter.
 * Both with TGOV1 where the case has a governor.
 */
export type MachineModel = 'twoaxis' | 'classical'

/** Coefficients of one machine, as the derivative needs them; powers and reactances on the system's base. */
type Coefficients = {
  readonly governed: boolean
  readonly droop: number
  readonly t1S: number
  readonly t3S: number
  readonly lead: number
  readonly dt: number
  readonly vMin: number
  readonly vMax: number
  readonly k: number
  readonly tbS: number
  readonly leadE: number
  readonly teS: number
  readonly eMin: number
  readonly eMax: number
  /** Machine MVA over system MVA. */
  readonly scale: number
  /** M = 2 H, s, on the system's base. */
  readonly inertiaS: number
  readonly damping: number
  readonly x1: number
  readonly xdMinus: number
  readonly xqMinus: number
  readonly td01S: number
  readonly tq01S: number
}

/**
 * The differential equations of the machines and the algebraic ones of the reduced network:
 *
 * - d delta/dt = 2 pi f0 (w - 1), M dw/dt = Pm - Pe - D (w - 1), torque taken as power
 * - Td0' dE'q/dt = -E'q - (Xd - Xd') Id + Efd, Tq0' dE'd/dt = -E'd + (Xq - Xq') Iq, Pe = E'd Id + E'q Iq
 * - SEXS: e = vref - V, dxl/dt = (e - xl)/TB, y = xl + (TA/TB)(e - xl), dEfd/dt = (K y - Efd)/TE
 * - TGOV1: dp1/dt = (pref - (w-1)/droop - p1)/T1, dp2/dt = (p1 - p2)/T3, Pm = p2 + (T2/T3)(p1 - p2) - Dt (w - 1)
 *
 * Valve and field voltage have non-windup limits: at a limit the derivative that points outwards is 0. No allocation.
 */
export class MachineDynamics {
  readonly count: number
  readonly connected: boolean[]
  /** Load reference, pu on the machine's rating; without a governor the constant mechanical power. */
  readonly reference: Float64Array
  /** Results of `solve`: terminal voltage and electrical power, pu on the system's base; internal voltage. */
  readonly terminalPu: Float64Array
  readonly electrical: Float64Array
  readonly eRe: Float64Array
  readonly eIm: Float64Array

  readonly #model: MachineModel
  readonly #turn: number
  readonly #yRed: ComplexMatrix
  readonly #coefficients: readonly Coefficients[]
  readonly #x1: Float64Array
  readonly #vref: Float64Array
  readonly #id: Float64Array
  readonly #iq: Float64Array
  readonly #sin: Float64Array
  readonly #cos: Float64Array

  constructor(grid: GridCase, yRed: ComplexMatrix, model: MachineModel) {
    const n = grid.machines.length
    this.count = n
    this.connected = grid.machines.map(() => true)
    this.reference = new Float64Array(n)
    this.terminalPu = new Float64Array(n)
    this.electrical = new Float64Array(n)
    this.eRe = new Float64Array(n)
    this.eIm = new Float64Array(n)
    this.#model = model
    this.#turn = 2 * Math.PI * grid.f0Hz
    this.#yRed = yRed
    this.#coefficients = grid.machines.map((machine) => coefficientsOf(machine, grid.baseMva))
    this.#x1 = Float64Array.from(this.#coefficients, ({ x1 }) => x1)
    this.#vref = new Float64Array(n)
    this.#id = new Float64Array(n)
    this.#iq = new Float64Array(n)
    this.#sin = new Float64Array(n)
    this.#cos = new Float64Array(n)
  }

  /** Fills `states` with the steady state of a power flow, and sets the references that hold it. */
  start(states: MachineStates, grid: GridCase, flow: PowerFlow): void {
    this.#coefficients.forEach((c, i) => {
      const bus = grid.buses.findIndex((b) => b.bus === grid.machines[i]?.bus)
      const vm = at(flow.vmPu, bus)
      // In the frame of the terminal voltage: V real, I = conj(S/V).
      const iRe = at(flow.machineMw, i) / grid.baseMva / vm
      const iIm = -at(flow.machineMvar, i) / grid.baseMva / vm
      const xAxis = this.#model === 'classical' ? c.x1 : c.x1 + c.xqMinus
      const angle = Math.atan2(xAxis * iRe, vm - xAxis * iIm)
      const id = iRe * Math.sin(angle) - iIm * Math.cos(angle)
      const iq = iRe * Math.cos(angle) + iIm * Math.sin(angle)
      const ed = vm * Math.sin(angle) - c.x1 * iq
      const eq = vm * Math.cos(angle) + c.x1 * id
      const efd = eq + c.xdMinus * id
      const power = (ed * id + eq * iq) / c.scale
      states.delta[i] = angle + at(flow.vaRad, bus)
      states.speed[i] = 0
      states.ed1[i] = ed
      states.eq1[i] = eq
      states.efd[i] = efd
      states.lag[i] = efd / c.k
      states.valve[i] = power
      states.reheat[i] = power
      this.reference[i] = power
      this.#vref[i] = vm + efd / c.k
    })
  }

  /** Network: from rotor angles and internal voltages to currents, terminal voltages and powers. */
  solve(x: MachineStates): void {
    const n = this.count
    const { eRe, eIm, terminalPu, electrical } = this
    const { re: g, im: b } = this.#yRed
    const { delta, ed1, eq1 } = x
    const sines = this.#sin
    const cosines = this.#cos
    const idAll = this.#id
    const iqAll = this.#iq
    const reactance = this.#x1
    for (let i = 0; i < n; i++) {
      const sin = Math.sin(delta[i] ?? 0)
      const cos = Math.cos(delta[i] ?? 0)
      sines[i] = sin
      cosines[i] = cos
      eRe[i] = (ed1[i] ?? 0) * sin + (eq1[i] ?? 0) * cos
      eIm[i] = (eq1[i] ?? 0) * sin - (ed1[i] ?? 0) * cos
    }
    for (let i = 0, entry = 0; i < n; i++) {
      let re = 0
      let im = 0
      for (let k = 0; k < n; k++, entry++) {
        const conductance = g[entry] ?? 0
        const susceptance = b[entry] ?? 0
        const eReK = eRe[k] ?? 0
        const eImK = eIm[k] ?? 0
        re += conductance * eReK - susceptance * eImK
        im += conductance * eImK + susceptance * eReK
      }
      const sin = sines[i] ?? 0
      const cos = cosines[i] ?? 0
      const ed = ed1[i] ?? 0
      const eq = eq1[i] ?? 0
      const x1 = reactance[i] ?? 0
      const id = re * sin - im * cos
      const iq = re * cos + im * sin
      idAll[i] = id
      iqAll[i] = iq
      const vd = ed + x1 * iq
      const vq = eq - x1 * id
      terminalPu[i] = Math.sqrt(vd * vd + vq * vq)
      electrical[i] = ed * id + eq * iq
    }
  }

  /** Derivatives `dx` at `x`. A machine off the network keeps its state. */
  derive(x: MachineStates, dx: MachineStates): void {
    this.solve(x)
    for (let i = 0; i < this.count; i++) {
      const c = this.#coefficients[i]
      if (c === undefined || this.connected[i] !== true) continue
      const speed = x.speed[i] ?? 0
      dx.delta[i] = this.#turn * speed
      dx.speed[i] = (this.#turbine(i, c, { x, dx }) - (this.electrical[i] ?? 0) - c.damping * speed) / c.inertiaS
      if (this.#model === 'twoaxis') this.#rotor(i, c, { x, dx })
    }
  }

  /** The fastest of the swings of each machine against the others and of the controllers' lags, rad/s; an upper estimate. */
  fastestPerS(): number {
    const n = this.count
    let fastest = 0
    for (const [i, { inertiaS, governed, t1S, teS }] of this.#coefficients.entries()) {
      let stiffness = 0
      for (let k = 0; k < n; k++) {
        if (k !== i) stiffness += Math.hypot(at(this.#yRed.re, i * n + k), at(this.#yRed.im, i * n + k))
      }
      const swing = Math.sqrt((this.#turn * stiffness) / inertiaS)
      fastest = Math.max(fastest, swing, governed ? 1 / t1S : 0, this.#model === 'twoaxis' ? 1 / teS : 0)
    }
    return fastest
  }

  /** Takes a machine off: its state stays where it is. */
  disconnect(i: number, dx: MachineStates): void {
    this.connected[i] = false
    for (const quantity of [dx.delta, dx.speed, dx.eq1, dx.ed1, dx.lag, dx.efd, dx.valve, dx.reheat]) quantity[i] = 0
  }

  /** Brings valve and field voltage back to their limits after a step. */
  limit(x: MachineStates): void {
    for (let i = 0; i < this.count; i++) {
      const c = this.#coefficients[i]
      if (c === undefined) continue
      if (c.governed) x.valve[i] = clamp(x.valve[i] ?? 0, c.vMin, c.vMax)
      if (this.#model === 'twoaxis') x.efd[i] = clamp(x.efd[i] ?? 0, c.eMin, c.eMax)
    }
  }

  /** Weights of the centre of inertia, M in s. */
  inertiaS(i: number): number {
    return this.#coefficients[i]?.inertiaS ?? Number.NaN
  }

  /** Mechanical power on the system's base; governor derivatives on the way. */
  #turbine(i: number, c: Coefficients, { x, dx }: Flow): number {
    if (!c.governed) return (this.reference[i] ?? 0) * c.scale
    const speed = x.speed[i] ?? 0
    const valve = clamp(x.valve[i] ?? 0, c.vMin, c.vMax)
    const lag = valve - (x.reheat[i] ?? 0)
    const toValve = ((this.reference[i] ?? 0) - speed / c.droop - valve) / c.t1S
    dx.valve[i] = heldAtLimit(valve, toValve, c.vMin, c.vMax)
    dx.reheat[i] = lag / c.t3S
    return ((x.reheat[i] ?? 0) + c.lead * lag - c.dt * speed) * c.scale
  }

  /** Flux and exciter derivatives. */
  #rotor(i: number, c: Coefficients, { x, dx }: Flow): void {
    const efd = clamp(x.efd[i] ?? 0, c.eMin, c.eMax)
    dx.eq1[i] = (efd - (x.eq1[i] ?? 0) - c.xdMinus * (this.#id[i] ?? 0)) / c.td01S
    dx.ed1[i] = (c.xqMinus * (this.#iq[i] ?? 0) - (x.ed1[i] ?? 0)) / c.tq01S
    const lag = (this.#vref[i] ?? 0) - (this.terminalPu[i] ?? 0) - (x.lag[i] ?? 0)
    const toField = (c.k * ((x.lag[i] ?? 0) + c.leadE * lag) - efd) / c.teS
    dx.lag[i] = lag / c.tbS
    dx.efd[i] = heldAtLimit(efd, toField, c.eMin, c.eMax)
  }
}

type Flow = { readonly x: MachineStates; readonly dx: MachineStates }

function coefficientsOf(machine: Machine, baseMva: number): Coefficients {
  const { governor, avr } = machine
  const scale = machine.mBaseMva / baseMva
  return {
    governed: governor !== null,
    droop: governor?.droop ?? 1,
    t1S: governor?.t1S ?? 1,
    t3S: governor?.t3S ?? 1,
    lead: governor === null ? 0 : governor.t2S / governor.t3S,
    dt: governor?.dt ?? 0,
    vMin: governor?.vMin ?? 0,
    vMax: governor?.vMax ?? 0,
    k: avr.k,
    tbS: avr.tbS,
    leadE: avr.taS / avr.tbS,
    teS: avr.teS,
    eMin: avr.eMin,
    eMax: avr.eMax,
    scale,
    inertiaS: 2 * machine.hS * scale,
    damping: machine.d * scale,
    x1: machine.xd1 / scale,
    xdMinus: (machine.xd - machine.xd1) / scale,
    xqMinus: (machine.xq - machine.xd1) / scale,
    td01S: machine.td01S,
    tq01S: machine.tq01S,
  }
}

function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value
}

/** The derivative of a limited state: 0 at a limit if it points outwards. */
function heldAtLimit(value: number, derivative: number, low: number, high: number): number {
  if ((value >= high && derivative > 0) || (value <= low && derivative < 0)) return 0
  return derivative
}
