import { cot, replyTo } from '../../protocol/index.ts'
import type { CoreConfig } from './contract.ts'
import { confirmationOf, type Desk, type Job, type Order } from './desk.ts'
import { encodePage, type Page, pagesOf } from './pages.ts'
import { freezeCounter, type Point, type PointDatabase } from './point-database.ts'

const QOI = { station: 20, firstGroup: 21, lastGroup: 36 }
const RQT = { general: 5, lastGroup: 4 }
/** Freeze codes of QCC (7.2.6.23). */
const FRZ = { read: 0, freeze: 1, freezeAndReset: 2, reset: 3 }

/**
 * Station, group and counter interrogation, and reading (IEC 60870-5-101, 7.4.5 to 7.4.7). Values are taken when they are
 * sent, not when they are asked for, so that no older value follows a newer event.
 */
export class Interrogation {
  readonly #points: PointDatabase
  readonly #config: CoreConfig
  readonly #desk: Desk
  /** Pages by what is asked for. */
  readonly #pages = new Map<string, readonly Page[]>()

  constructor(points: PointDatabase, config: CoreConfig, desk: Desk) {
    this.#points = points
    this.#config = config
    this.#desk = desk
  }

  /** C_IC_NA_1: station (20) or group (21..36). A group in which there is nothing is refused. */
  station(order: Order, qoi: number): void {
    const group = qoi === QOI.station ? undefined : qoi - QOI.firstGroup + 1
    const isKnown = qoi >= QOI.station && qoi <= QOI.lastGroup
    const pages = isKnown ? this.#pagesOf(order.view.ca, 'C_IC', group) : []
    if (order.view.cot === cot.deactivation) this.#callOff(order, 'C_IC')
    else if (!isKnown || (pages.length === 0 && group !== undefined)) this.#desk.answer(order, cot.activationCon, true)
    else this.#send(order, 'C_IC', qoi, pages)
  }

  /** C_CI_NA_1: reads or freezes and resets counters of a group (1..4) or all (5). Gives the counters that were frozen. */
  counters(order: Order, request: number, freeze: number): readonly Point[] {
    if (order.view.cot === cot.deactivation) {
      this.#callOff(order, 'C_CI')
      return []
    }
    const group = request === RQT.general ? undefined : request
    const isKnown = request >= 1 && request <= RQT.general
    const { ca } = order.view
    const pages = isKnown ? this.#pagesOf(ca, 'C_CI', group) : []
    if (pages.length === 0) {
      this.#desk.answer(order, cot.activationCon, true)
      return []
    }
    const cause = cot.requestedByGeneralCounter + (group ?? 0)
    if (freeze === FRZ.read) {
      this.#send(order, 'C_CI', cause, pages)
      return []
    }
    const counters = pages.flatMap(({ points }) => points)
    if (!order.view.test) freezeAll(counters, freeze)
    this.#send(order, 'C_CI', cause, [])
    return freeze === FRZ.reset || order.view.test ? [] : counters
  }

  /** C_RD_NA_1: the value of one object; no confirmation. */
  read(order: Order): void {
    const point = this.#points.find(order.view.ca, order.view.ioa)
    const [page] = point === undefined ? [] : pagesOf([point])
    if (page === undefined) this.#desk.answer(order, cot.unknownIoa, true)
    else this.#desk.reply(order, encodePage(page, cot.request, order.view.oa))
  }

  /** Local freeze of every counter. */
  freezeAll(): readonly Point[] {
    const counters = this.#points.cas.flatMap((ca) => this.#points.of(ca)).filter(({ kind }) => kind === 'counter')
    freezeAll(counters, FRZ.freeze)
    return counters
  }

  /** The points are no longer the same. */
  forgetPages(): void {
    this.#pages.clear()
  }

  get reportsFrozen(): boolean {
    return this.#config.reportFrozen ?? false
  }

  #send(order: Order, key: string, cause: number, pages: readonly Page[]): void {
    const end = replyTo(order.octets, { cot: cot.activationTermination, negative: false })
    const job = pageJob(`${key} ${order.view.ca}`, pages, { cot: cause, oa: order.view.oa }, end)
    const isTaken = this.#desk.run(order, job)
    this.#desk.answer(order, cot.activationCon, !isTaken)
  }

  #callOff(order: Order, key: string): void {
    const isFound = this.#desk.callOff(order, `${key} ${order.view.ca}`)
    this.#desk.answer(order, confirmationOf(order.view), !isFound)
  }

  #pagesOf(ca: number, type: 'C_IC' | 'C_CI', group: number | undefined): readonly Page[] {
    const key = `${type} ${ca} ${group ?? '*'}`
    const known = this.#pages.get(key)
    if (known !== undefined) return known
    const points = this.#points
      .of(ca)
      .filter(
        ({ kind, spec }) => (kind === 'counter') === (type === 'C_CI') && (group === undefined || spec.group === group),
      )
    const pages = pagesOf(points)
    this.#pages.set(key, pages)
    return pages
  }
}

function freezeAll(counters: readonly Point[], code: number): void {
  const action = { freeze: code !== FRZ.reset, reset: code !== FRZ.freeze }
  for (const counter of counters) freezeCounter(counter, action)
}

/** Sends pages one by one, with the values of the moment, and `end` after them. */
export function pageJob(
  key: string,
  pages: readonly Page[],
  header: { readonly cot: number; readonly oa: number },
  end?: Uint8Array,
): Job {
  let at = 0
  return {
    key,
    next: () => {
      const page = pages[at]
      at += 1
      if (page !== undefined) return encodePage(page, header.cot, header.oa)
      return at === pages.length + 1 ? end : undefined
    },
  }
}
