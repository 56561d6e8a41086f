import { type AsduView, cot, typeIdOf } from '../protocol/index.ts'
import type { MasterConfig } from './config.ts'

type Station = {
  readonly ca: number
  readonly links: readonly number[]
  /** When the next interrogation is due; undefined after a complete one. */
  interrogateAtMs: number | undefined
  isClockSet: boolean
}

/** What is to be sent to a station now. */
export type StationOrder = { readonly kind: 'clock' | 'interrogation'; readonly ca: number; readonly link: number }

const M_EI_NA_1 = typeIdOf('M_EI_NA_1')
const C_IC_NA_1 = typeIdOf('C_IC_NA_1')
const C_CS_NA_1 = typeIdOf('C_CS_NA_1')

/**
 * Brings the stations' clocks and the master's picture up to date: clock synchronisation and general interrogation of each
 * RTU as soon as a link towards it is up, repeated until confirmed, and the interrogation once more when the station says
 * that it has started anew (M_EI_NA_1).
 */
export class Stations {
  readonly #stations: ReadonlyMap<number, Station>
  readonly #timeoutMs: number

  constructor(stations: MasterConfig['stations'], timeoutMs: number) {
    this.#stations = new Map(
      stations.map(({ ca, links }) => [ca, { ca, links, interrogateAtMs: 0, isClockSet: false }]),
    )
    this.#timeoutMs = timeoutMs
  }

  /** What is due; called each tick. */
  step(isUp: (link: number) => boolean, nowMs: number): readonly StationOrder[] {
    const orders: StationOrder[] = []
    for (const station of this.#stations.values()) {
      if (station.interrogateAtMs === undefined || nowMs < station.interrogateAtMs) continue
      const link = station.links.find(isUp)
      if (link === undefined) continue
      const { ca } = station
      station.interrogateAtMs = nowMs + this.#timeoutMs
      if (!station.isClockSet) orders.push({ kind: 'clock', ca, link })
      orders.push({ kind: 'interrogation', ca, link })
    }
    return orders
  }

  /** Answers of a station to these orders, and its end of initialization. */
  onAsdu({ typeId, ca, cot: cause, negative }: AsduView, nowMs: number): void {
    const station = this.#stations.get(ca)
    if (station === undefined) return
    if (typeId === C_CS_NA_1 && cause === cot.activationCon && !negative) station.isClockSet = true
    if (typeId === C_IC_NA_1 && cause === cot.activationTermination) station.interrogateAtMs = undefined
    if (typeId === M_EI_NA_1) station.interrogateAtMs ??= nowMs
  }
}
