/** What the parts of a station see of it: an order that came in, and what can be done about it. */
import { type Asdu, type AsduView, cot } from '../../protocol/index.ts'
import type { LabEvent, Suite } from '../../runtime/contract.ts'
import type { CoreEffect } from './contract.ts'

/**
 * The way an order came, where a connection has several: its answers go back over the link it came from if that is up, and in
 * its cipher suite.
 */
export type Way = { readonly suite: Suite; readonly link?: number }

/** An ASDU of a controlling station, found to be for this station. Orders to all stations come once for each CA. */
export type Order = {
  readonly connection: number
  readonly peer: string
  readonly way: Way | undefined
  /** With the CA it is carried out for. */
  readonly octets: Uint8Array
  readonly view: AsduView
  readonly asdu: Asdu
  readonly nowMs: number
}

/** ASDUs that are made when they can be sent: an interrogation, a scan, the segments of a file section. */
export type Job = {
  /** What it can be called off by. */
  readonly key: string
  /** Undefined when it is done. */
  readonly next: () => Uint8Array | undefined
}

export type Desk = {
  /** Mirrors the order with another cause; sent before all else. */
  readonly answer: (order: Order, cause: number, negative?: boolean) => void
  /** Sends an ASDU to the one who ordered, before all else. */
  readonly reply: (order: Order, asdu: Uint8Array) => void
  /** Mirrors the order (its octets) behind the events that wait already: the end of a command follows its result. */
  readonly conclude: (order: Pick<Order, 'connection' | 'octets' | 'way'>, negative: boolean) => void
  /** Sends a job's ASDUs to the one who ordered, after answers and events. False: too many are under way. */
  readonly run: (order: Order, job: Job) => boolean
  /** Calls off jobs; says whether there were any. */
  readonly callOff: (order: Order, key: string) => boolean
  readonly effect: (effect: CoreEffect) => void
  readonly log: (event: LabEvent) => void
}

/** The cause of a confirmation that fits an order's cause. */
export function confirmationOf({ cot: cause }: { readonly cot: number }): number {
  return cause === cot.deactivation ? cot.deactivationCon : cot.activationCon
}
