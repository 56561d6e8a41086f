/**
 * The grid port: how measurements leave the grid and actions reach it, over any stream of octets (the lab uses TCP on the
 * management network). Hardware in the loop connects here: a device or its adapter as a client in place of an IED, or
 * a real-time simulator as the server in place of the grid process.
 *
 * Each message is one line: a JSON object in UTF-8, at most 1024 octets, ended by a line feed (a carriage return before
 * it does no harm; empty lines are ignored). Fields in any order, numbers in JSON notation, none missing, none besides.
 *
 * Client to grid:
 *
 * - `{"kind":"subscribe","bus":16,"periodMs":100}`: a sample of the bus at once and then whenever lab time is a multiple of
 *   the period (at least 20 ms, rounded up to the grid's step of 10 ms). A second one for the same bus replaces the first.
 * - `{"kind":"shed","id":1,"bus":16,"loadMw":42.5,"breakerDelayMs":80}`: load off after the breaker's delay.
 * - `{"kind":"setpoint","id":2,"bus":30,"deltaMw":12.5}`: load reference of the machine's governor, as a difference to
 *   its initial value.
 *
 * Grid to client:
 *
 * - `{"kind":"sample","bus":30,"tMs":1200,"deltaFHz":-0.01,"voltagePu":1.04,"powerMw":251.3}`; `powerMw` only where a
 *   machine stands. `tMs` is lab time of the sample.
 * - `{"kind":"done","id":1,"ok":true,"tMs":1280}`, once an action has taken effect; or `"ok":false` with a `reason`.
 *
 * `id` is the client's own count of its actions on this connection. The same request with the same id again is answered
 * again and done once; another request with a used id is refused. A line that is no request is answered by a `done` with
 * `ok` false, with the line's id if it has one, else 0.
 */

import type { GridDone, GridRequest, GridSample } from '../runtime/contract.ts'
import type { Checked } from './request.ts'
import { checkGridReply, checkGridRequest, MAX_REASON_CHARS } from './request.ts'

export type GridMessage = GridRequest | GridSample | GridDone

/** Longest line, octets without its line feed. */
export const MAX_LINE_BYTES = 1024

const LINE_FEED = 0x0a

/** A line that is no message. `reason` is short and safe to log; `id` is the request's where it could be read. */
export type GridLineFault = {
  readonly code: 'LINE_TOO_LONG' | 'NOT_UTF8' | 'NOT_JSON' | 'NOT_A_MESSAGE'
  readonly reason: string
  readonly id?: number
}

export type GridLine<M> =
  | { readonly kind: 'message'; readonly message: M }
  | { readonly kind: 'fault'; readonly fault: GridLineFault }

/** A message as its line, line feed included. An over-long `reason` is cut. */
export function encodeGridMessage(message: GridMessage): Uint8Array {
  const sent =
    message.kind === 'done' && message.reason !== undefined
      ? { ...message, reason: message.reason.slice(0, MAX_REASON_CHARS) }
      : message
  return new TextEncoder().encode(`${JSON.stringify(sent)}\n`)
}

/** One line without its line feed as a request (the grid's end of the port). Never throws. */
export function parseGridRequest(line: Uint8Array): GridLine<GridRequest> {
  return parseLine(line, checkGridRequest)
}

/** One line without its line feed as a sample or answer (the client's end of the port). Never throws. */
export function parseGridReply(line: Uint8Array): GridLine<GridSample | GridDone> {
  return parseLine(line, checkGridReply)
}

function parseLine<M>(line: Uint8Array, check: (value: unknown) => Checked<M>): GridLine<M> {
  if (line.length > MAX_LINE_BYTES)
    return fault({ code: 'LINE_TOO_LONG', reason: `more than ${MAX_LINE_BYTES} octets` })
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(line)
  } catch {
    return fault({ code: 'NOT_UTF8', reason: 'not UTF-8' })
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return fault({ code: 'NOT_JSON', reason: 'not JSON' })
  }
  const checked = check(value)
  if (checked.ok) return { kind: 'message', message: checked.message }
  const { reason, id } = checked
  return fault(id === undefined ? { code: 'NOT_A_MESSAGE', reason } : { code: 'NOT_A_MESSAGE', reason, id })
}

function fault(fault: GridLineFault): { readonly kind: 'fault'; readonly fault: GridLineFault } {
  return { kind: 'fault', fault }
}

/**
 * Cuts a stream of octets into lines and parses each, however the stream is fragmented. Holds at most one line; a line that
 * is too long is reported once, dropped up to its line feed, and the next one is read as usual. Never throws.
 *
 * @example
 * const decoder = new GridLineDecoder(parseGridReply)
 * for (const line of decoder.push(chunk)) if (line.kind === 'message') take(line.message)
 */
export class GridLineDecoder<M> {
  readonly #parse: (line: Uint8Array) => GridLine<M>
  readonly #held = new Uint8Array(MAX_LINE_BYTES)
  #heldBytes = 0
  #skipping = false

  constructor(parse: (line: Uint8Array) => GridLine<M>) {
    this.#parse = parse
  }

  push(chunk: Uint8Array): readonly GridLine<M>[] {
    const lines: GridLine<M>[] = []
    let start = 0
    while (start < chunk.length) {
      const end = chunk.indexOf(LINE_FEED, start)
      this.#hold(chunk.subarray(start, end < 0 ? chunk.length : end), lines)
      if (end < 0) break
      this.#finish(lines)
      start = end + 1
    }
    return lines
  }

  #hold(part: Uint8Array, lines: GridLine<M>[]): void {
    if (this.#skipping) return
    if (this.#heldBytes + part.length > MAX_LINE_BYTES) {
      this.#skipping = true
      lines.push(fault({ code: 'LINE_TOO_LONG', reason: `more than ${MAX_LINE_BYTES} octets` }))
      return
    }
    this.#held.set(part, this.#heldBytes)
    this.#heldBytes += part.length
  }

  #finish(lines: GridLine<M>[]): void {
    const line = this.#held.subarray(0, this.#heldBytes)
    const skipped = this.#skipping
    this.#heldBytes = 0
    this.#skipping = false
    const blank = line.length === 0 || (line.length === 1 && line[0] === 0x0d)
    if (!skipped && !blank) lines.push(this.#parse(line))
  }
}
