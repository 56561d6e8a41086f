import { type Asdu, cot, typeIdOf } from '../../protocol/index.ts'
import {
  confirmed,
  type Exchange,
  type Header,
  isForOriginator,
  isOfStation,
  type Received,
  refusalOf,
  type Step,
  type Waits,
} from './exchange.ts'
import { ALL_STATIONS, type OperationResult } from './operation.ts'

export type ActivationPlan = {
  /** The requests, each sent when the one before is confirmed: one, or select and execute. */
  readonly requests: readonly ((wallMs: number) => Asdu)[]
  /**
   * ACTTERM after the last confirmation: `needed`, its absence is a time-out; `welcome`, waited for as long as an answer;
   * `possible`, waited for briefly; `none`.
   */
  readonly termination: 'needed' | 'welcome' | 'possible' | 'none'
  /** Whether an ASDU is data that the request brings. */
  readonly isData?: (header: Header) => boolean
  /** Qualifier octet that answers must mirror, where operations differ by nothing else (C_IC, C_CI). */
  readonly qualifier?: number
  /** Looks at the confirmation; a string refuses it. */
  readonly check?: (reply: Asdu) => string | undefined
  readonly oa: number
}

/** Offset of the first element of the first object in an ASDU of IEC 60870-5-104. */
const QUALIFIER_AT = 9

/** How far one station is: a broadcast has several. */
type StationState = 'confirmed' | 'terminated'

/**
 * An operation that is activated and confirmed, IEC 60870-5-101, 7.4: interrogation, command, clock, test, parameter.
 *
 * ```
 * ACT --> ACTCON [--> next request --> ACTCON] [--> data ...] [--> ACTTERM]
 * ```
 */
export class Activation implements Exchange {
  readonly #plan: ActivationPlan
  readonly #waits: Waits
  #stage = 0
  #request: Asdu | undefined
  readonly #stations = new Map<number, StationState>()
  #objectCount = 0
  #reply: Asdu | undefined
  #refusal: OperationResult | undefined

  constructor(plan: ActivationPlan, waits: Waits) {
    this.#plan = plan
    this.#waits = waits
  }

  begin(wallMs: number): Step {
    const request = this.#plan.requests[this.#stage]?.(wallMs)
    if (request === undefined) return { result: this.#success() }
    this.#request = request
    return { send: [request], waitMs: this.#waits.timeoutMs }
  }

  take(received: Received, wallMs: number): Step | undefined {
    const request = this.#request
    const { header, asdu } = received
    if (request === undefined || !isOfStation(header.ca, request.ca)) return undefined
    if (this.#plan.isData?.(header) === true) {
      this.#objectCount += asdu?.objects.length ?? 0
      return { waitMs: this.#hasQuietEnd() ? this.#waits.quietMs : this.#waits.timeoutMs }
    }
    if (!this.#isAnswer(received, request)) return undefined
    const refusal = refusalOf(header)
    if (refusal !== undefined) return this.#refused(refusal)
    if (header.cot === cot.activationTermination) {
      // The end of an earlier operation of the same kind may come late: it is not the end of one that has not begun.
      const hasBegun = this.#stations.has(header.ca) || this.#objectCount > 0
      return hasBegun ? this.#terminated(header.ca) : undefined
    }
    if (header.cot !== (request.cot === cot.deactivation ? cot.deactivationCon : cot.activationCon)) return undefined
    const problem = asdu === undefined ? undefined : this.#plan.check?.(asdu)
    if (problem !== undefined) {
      return this.#refused({ kind: 'refused', cot: header.cot, negative: false, ca: header.ca, reason: problem })
    }
    return this.#confirmed(header.ca, asdu, wallMs)
  }

  expire(): Step {
    if (this.#refusal !== undefined) return { result: this.#refusal }
    if (this.#stations.size === 0) return this.#timeout('confirmation')
    const unfinished = [...this.#stations.values()].includes('confirmed')
    if (unfinished && this.#plan.termination === 'needed') return this.#timeout('termination')
    return { result: this.#success() }
  }

  #timeout(awaited: 'confirmation' | 'termination'): Step {
    return { result: { kind: 'timeout', awaited, objectCount: this.#objectCount } }
  }

  #isAnswer({ header, octets }: Received, request: Asdu): boolean {
    if (header.typeId !== typeIdOf(request.type) || !isForOriginator(header.oa, this.#plan.oa)) return false
    if (header.cot >= cot.unknownTypeId && header.cot <= cot.unknownIoa) return true
    if (header.ioa !== (request.objects[0]?.ioa ?? 0)) return false
    const { qualifier } = this.#plan
    return qualifier === undefined || octets[QUALIFIER_AT] === qualifier
  }

  #refused(refusal: OperationResult): Step {
    if (this.#request?.ca !== ALL_STATIONS || this.#stage > 0) return { isConfirmation: true, result: refusal }
    // Of several stations one says no: the others may still answer.
    this.#refusal = refusal
    const isEcho = refusal.kind === 'refused' && refusal.ca === ALL_STATIONS
    return isEcho ? { isConfirmation: true, result: refusal } : { isConfirmation: true, waitMs: this.#waits.quietMs }
  }

  #confirmed(ca: number, reply: Asdu | undefined, wallMs: number): Step {
    if (!this.#stations.has(ca)) this.#stations.set(ca, 'confirmed')
    this.#reply ??= reply
    const isLast = this.#stage === this.#plan.requests.length - 1
    if (!isLast) {
      this.#stage += 1
      this.#reply = undefined
      this.#stations.clear()
      return { isConfirmation: true, ...this.begin(wallMs) }
    }
    const { termination } = this.#plan
    const isBroadcast = this.#request?.ca === ALL_STATIONS && ca !== ALL_STATIONS
    if (termination === 'none' && !isBroadcast) return { isConfirmation: true, result: this.#success() }
    const isShort = termination === 'none' || termination === 'possible'
    return { isConfirmation: true, waitMs: isShort ? this.#waits.quietMs : this.#waits.timeoutMs }
  }

  #terminated(ca: number): Step {
    this.#stations.set(ca, 'terminated')
    const { termination } = this.#plan
    const isBroadcast = this.#request?.ca === ALL_STATIONS && ca !== ALL_STATIONS
    if (!isBroadcast && termination !== 'none') return { isConfirmation: true, result: this.#success() }
    return { isConfirmation: true, waitMs: this.#hasQuietEnd() ? this.#waits.quietMs : this.#waits.timeoutMs }
  }

  /** Nothing is outstanding that must come: silence ends the operation. */
  #hasQuietEnd(): boolean {
    if (this.#stations.size === 0) return false
    const { termination } = this.#plan
    if (termination === 'possible' || termination === 'none') return true
    return ![...this.#stations.values()].includes('confirmed')
  }

  #success(): OperationResult {
    if (this.#refusal !== undefined) return this.#refusal
    const { termination } = this.#plan
    const terminated = ![...this.#stations.values()].includes('confirmed')
    const isTold = terminated ? termination !== 'none' : termination === 'needed' || termination === 'welcome'
    return confirmed({
      ...(isTold && { terminated }),
      objectCount: this.#objectCount,
      stations: [...this.#stations.keys()].sort((a, b) => a - b),
      ...(this.#reply !== undefined && { reply: this.#reply }),
    })
  }
}
