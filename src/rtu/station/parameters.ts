import { type Asdu, cot } from '../../protocol/index.ts'
import { confirmationOf, type Desk, type Order } from './desk.ts'
import { configuredParameters, type MeasuredParameters, type Point, type PointDatabase } from './point-database.ts'
import type { PointKind } from './point-kinds.ts'
import type { Scans } from './scans.ts'

/** Kinds of parameters, QPM (7.2.6.24). */
const FIELD: ReadonlyMap<number, keyof MeasuredParameters> = new Map([
  [1, 'deadband'],
  [2, 'smoothing'],
  [3, 'lowLimit'],
  [4, 'highLimit'],
])
const QPA = { loaded: 1, addressed: 2, cyclic: 3 }

type Load = {
  readonly kind: PointKind
  readonly value: number
  readonly qpmKind: number
  readonly inOperation: boolean
}

/**
 * Parameters of measured values (IEC 60870-5-101, 7.4.9), addressed by the point they belong to. P_ME_* loads threshold,
 * smoothing factor (0 to below 1; a scaled value in thousandths), low or high limit; it holds at once, or with POP = 1
 * when P_AC_NA_1 activates it: QPA 1 all that wait (IOA 0), 2 those of the object addressed (deactivation: back to what is
 * configured), 3 cyclic transmission of the object.
 */
export class Parameters {
  readonly #points: PointDatabase
  readonly #scans: Scans
  readonly #desk: Desk
  readonly #waiting = new Map<Point, Partial<MeasuredParameters>>()

  constructor(points: PointDatabase, scans: Scans, desk: Desk) {
    this.#points = points
    this.#scans = scans
    this.#desk = desk
  }

  take(order: Order): void {
    const { asdu } = order
    const load = readLoad(asdu)
    if (load !== undefined) this.#load(order, load)
    else if (asdu.type === 'P_AC_NA_1') this.#activate(order, asdu.objects[0]?.value.qpa)
  }

  #load(order: Order, { kind, value, qpmKind, inOperation }: Load): void {
    const { ca, ioa } = order.view
    const point = this.#points.find(ca, ioa)
    if (point === undefined || point.kind !== kind) {
      this.#desk.answer(order, cot.unknownIoa, true)
      return
    }
    const field = FIELD.get(qpmKind)
    const fitting = field === 'smoothing' && kind === 'scaled' ? value / 1000 : value
    const isFitting = field !== undefined && isFit(field, fitting)
    this.#desk.answer(order, cot.activationCon, !isFitting)
    if (!isFitting || order.view.test) return
    const waiting = { ...this.#waiting.get(point), [field]: fitting }
    if (inOperation) point.parameters = { ...point.parameters, [field]: fitting }
    else this.#waiting.set(point, waiting)
    this.#desk.log({ name: 'parameter.loaded', ca, ioa, parameter: field, value: fitting, inOperation })
  }

  #activate(order: Order, qpa: number | undefined): void {
    const { ca, ioa, cot: cause, test } = order.view
    const isOn = cause === cot.activation
    const point = this.#points.find(ca, ioa)
    if (qpa === QPA.loaded ? ioa !== 0 : point === undefined) {
      this.#desk.answer(order, cot.unknownIoa, true)
      return
    }
    const isFitting = (qpa === QPA.loaded && isOn) || qpa === QPA.addressed || qpa === QPA.cyclic
    this.#desk.answer(order, confirmationOf(order.view), !isFitting)
    if (!isFitting || test) return
    if (qpa === QPA.loaded) for (const each of this.#waiting.keys()) this.#apply(each, ca)
    else if (point !== undefined && qpa === QPA.cyclic) this.#scans.setCyclic(point, isOn, order.nowMs)
    else if (point !== undefined && isOn) this.#apply(point, ca)
    else if (point !== undefined) point.parameters = configuredParameters(point.spec)
    this.#desk.log({ name: 'parameter.activated', ca, ioa, qpa: qpa ?? 0, isOn })
  }

  #apply(point: Point, ca: number): void {
    if (point.spec.ca !== ca) return
    point.parameters = { ...point.parameters, ...this.#waiting.get(point) }
    this.#waiting.delete(point)
  }
}

function isFit(field: keyof MeasuredParameters, value: number): boolean {
  if (!Number.isFinite(value)) return false
  if (field === 'deadband') return value >= 0
  return field === 'smoothing' ? value >= 0 && value < 1 : true
}

function readLoad(asdu: Asdu): Load | undefined {
  if (asdu.type !== 'P_ME_NA_1' && asdu.type !== 'P_ME_NB_1' && asdu.type !== 'P_ME_NC_1') return undefined
  const kind = asdu.type === 'P_ME_NA_1' ? 'normalized' : asdu.type === 'P_ME_NB_1' ? 'scaled' : 'float'
  const [object] = asdu.objects
  if (object === undefined) return undefined
  const { value, qpm } = object.value
  return { kind, value, qpmKind: qpm.kind, inOperation: !qpm.notInOperation }
}
