import { StreamDeframer } from './apci.ts'
import { ApciConnection, type ApciEffect, type ApciOptions } from './connection.ts'

/** Effects of a 104 connection over a byte stream, in order. `write` carries whole APDUs only. */
export type StreamSessionEffect =
  | { readonly kind: 'write'; readonly bytes: Uint8Array }
  | { readonly kind: 'asdu'; readonly asdu: Uint8Array }
  | { readonly kind: 'acked'; readonly count: number }
  | { readonly kind: 'started' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'close'; readonly reason: string }

/**
 * One IEC 60870-5-104 connection over a byte stream (TCP, TLS): framing and connection state machine. APDUs that one call
 * gives rise to leave in one write. After `close` the stream must be ended; further input is ignored.
 */
export class StreamSession {
  readonly #connection: ApciConnection
  readonly #deframer = new StreamDeframer()
  #closed = false

  constructor(options: ApciOptions) {
    this.#connection = new ApciConnection(options)
  }

  /** Lab time at which `wake` is due, or undefined. */
  get wakeAtMs(): number | undefined {
    return this.#closed ? undefined : this.#connection.wakeAtMs
  }

  get isStarted(): boolean {
    return this.#connection.isStarted
  }

  get canSend(): boolean {
    return !this.#closed && this.#connection.canSend
  }

  get unacked(): number {
    return this.#connection.unacked
  }

  /** The stream is up; the controlling station sends STARTDT act. */
  open(nowMs: number): readonly StreamSessionEffect[] {
    return this.#effects(this.#connection.open(nowMs))
  }

  /** Takes octets as the stream delivers them, in whatever pieces. */
  receive(chunk: Uint8Array, nowMs: number): readonly StreamSessionEffect[] {
    const { apdus, fault } = this.#deframer.push(chunk)
    const effects = apdus.flatMap((apdu) => this.#connection.receive(apdu, nowMs))
    return this.#effects(effects, fault && `malformed: ${fault.message}`)
  }

  /** Sends an ASDU as I-frame; the caller checks `canSend`. */
  send(asdu: Uint8Array, nowMs: number): readonly StreamSessionEffect[] {
    return this.#effects(this.#connection.send(asdu, nowMs))
  }

  wake(nowMs: number): readonly StreamSessionEffect[] {
    return this.#effects(this.#connection.wake(nowMs))
  }

  /** Controlling station: STARTDT act after a stop. */
  start(nowMs: number): readonly StreamSessionEffect[] {
    return this.#effects(this.#connection.start(nowMs))
  }

  /** Controlling station: STOPDT act. */
  stop(nowMs: number): readonly StreamSessionEffect[] {
    return this.#effects(this.#connection.stop(nowMs))
  }

  #effects(effects: readonly ApciEffect[], fault?: string): readonly StreamSessionEffect[] {
    if (this.#closed) return []
    const result: StreamSessionEffect[] = []
    const pending: Uint8Array[] = []
    const flush = (): void => {
      if (pending.length > 0) result.push({ kind: 'write', bytes: joined(pending.splice(0)) })
    }
    for (const effect of effects) {
      if (effect.kind === 'transmit') {
        pending.push(effect.apdu)
        continue
      }
      if (effect.kind !== 'close') {
        result.push(effect)
        continue
      }
      flush()
      this.#closed = true
      result.push({ kind: 'close', reason: effect.reason })
      return result
    }
    flush()
    if (fault !== undefined) {
      this.#closed = true
      result.push({ kind: 'close', reason: fault })
    }
    return result
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}
