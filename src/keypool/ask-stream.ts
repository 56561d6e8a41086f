import { type Client, type ClientDuplexStream, status as grpcStatus, type StatusObject } from '@grpc/grpc-js'
import {
  type GetKeyRequest,
  type GetKeysReply,
  type GetKeysRequest,
  type KeyQuestion,
  keyServerService,
  MAX_TOGETHER,
} from './messages.ts'

/** What became of a question: granted with code 0, or refused, by the server or because the stream has ended. */
export type Asked = { readonly code: number; readonly details: string; readonly assignedSlots: number }

export type Question = {
  readonly getKey: GetKeyRequest
  /** How long the server is to wait for the first slot. */
  readonly waitMs: number
  /** The stream's length as the asker knows it: key beyond it is the answer. */
  readonly fromSlot: number
  /** It does not wait for what was asked before. */
  readonly urgent: boolean
}

/** A question that has not been answered. */
type Open = {
  readonly channel: number
  readonly fromSlot: number
  readonly answered: (answer: Asked) => void
}

/**
 * A question waits for the server's word on those before it for twice as long as that took of late, ms, within these bounds: for
 * where there is no key nobody answers.
 */
const [MIN_HOLD_MS, MAX_HOLD_MS] = [2, 30]
/** Messages go no closer than this, ms: waking three processes for a message costs much more than a question in it. */
const GAP_MS = 1

/**
 * A client's questions for key, on one stream that is opened with the first of them and, after it has ended, with the next.
 * Every question is answered once, at the latest when the stream ends; the answer to one that is granted is the key itself, of
 * which `came` tells.
 *
 * One message at a time is on its way: what is asked before the server has answered anything of it goes together in the next one.
 * So a server that is slow, because much is asked, has less work with each question.
 */
export class AskStream {
  readonly #client: Client
  readonly #open = new Map<number, Open>()
  readonly #openByChannel = new Map<number, number[]>()
  #call: ClientDuplexStream<GetKeysRequest, GetKeysReply> | undefined
  #nextNumber = 0
  #unsent: KeyQuestion[] = []
  #hold: NodeJS.Timeout | undefined
  /** When the last message was sent, by the machine's clock, and whether the server is done with it. */
  #sentMs = Number.NEGATIVE_INFINITY
  #isDone = true
  /** How long answers took of late. */
  #answerMs = 0
  #willSend = false

  constructor(client: Client) {
    this.#client = client
  }

  ask({ getKey, waitMs, fromSlot, urgent }: Question, answered: (answer: Asked) => void): void {
    const { channel } = getKey
    const request = this.#nextNumber
    this.#nextNumber = (request + 1) >>> 0
    this.#open.set(request, { channel, fromSlot, answered })
    this.#openByChannel.set(channel, [...(this.#openByChannel.get(channel) ?? []), request])
    this.#unsent.push({ request, getKey, waitMs, quiet: true })
    if (urgent) this.#sendSoon()
    else this.#hold ??= this.#sendInTime()
  }

  /** Key of a channel has come, up to a slot. */
  came(channel: number, endSlot: number): void {
    const numbers = this.#openByChannel.get(channel)
    if (numbers === undefined) return
    this.#heard()
    for (const request of numbers) {
      const fromSlot = this.#open.get(request)?.fromSlot ?? endSlot
      if (endSlot > fromSlot) this.#answer(request, { code: grpcStatus.OK, details: '', assignedSlots: endSlot })
    }
  }

  /** Nobody waits for an answer any more, and nobody gets one. */
  forget(): void {
    this.#open.clear()
    this.#openByChannel.clear()
    this.#unsent = []
    this.#isDone = true
    clearTimeout(this.#hold)
    this.#hold = undefined
  }

  /** Ends the stream; nobody is told. */
  close(): void {
    this.forget()
    this.#call?.cancel()
    this.#call = undefined
  }

  /** The server is done with what was sent. */
  #heard(): void {
    if (this.#isDone) return
    this.#isDone = true
    this.#answerMs += (performance.now() - this.#sentMs - this.#answerMs) / 4
    if (this.#hold === undefined) return
    clearTimeout(this.#hold)
    this.#hold = this.#sendInTime()
  }

  /** Sends what there is when it may go; gives the timer, if it has to wait for that. */
  #sendInTime(): NodeJS.Timeout | undefined {
    const holdMs = this.#isDone ? GAP_MS : Math.max(MIN_HOLD_MS, Math.min(MAX_HOLD_MS, 2 * this.#answerMs))
    const leftMs = this.#sentMs + holdMs - performance.now()
    if (leftMs > 0) return setTimeout(() => this.#sendSoon(), leftMs)
    this.#sendSoon()
    return undefined
  }

  /** What is asked in one go goes together. */
  #sendSoon(): void {
    if (this.#willSend) return
    this.#willSend = true
    queueMicrotask(() => {
      this.#willSend = false
      this.#send()
    })
  }

  #send(): void {
    clearTimeout(this.#hold)
    this.#hold = undefined
    const [first, ...further] = this.#unsent.splice(0, MAX_TOGETHER)
    if (first === undefined) return
    const call = this.#call ?? this.#begin()
    this.#sentMs = performance.now()
    this.#isDone = false
    call.write({ ...first, further })
    if (this.#unsent.length > 0) this.#sendSoon()
  }

  #answer(request: number, answer: Asked): void {
    const open = this.#open.get(request)
    if (open === undefined) return
    this.#open.delete(request)
    const others = (this.#openByChannel.get(open.channel) ?? []).filter((number) => number !== request)
    if (others.length === 0) this.#openByChannel.delete(open.channel)
    else this.#openByChannel.set(open.channel, others)
    open.answered(answer)
  }

  #begin(): ClientDuplexStream<GetKeysRequest, GetKeysReply> {
    const { path, requestSerialize, responseDeserialize } = keyServerService.getKeys
    const call = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
    this.#call = call
    call.on('data', (answer: GetKeysReply) => {
      this.#heard()
      this.#answer(answer.request, answer)
    })
    call.on('error', () => {}) // `status` tells the same, and comes in any case.
    call.on('status', ({ code, details }: StatusObject) => {
      if (this.#call !== call) return
      this.#call = undefined
      const answer = { code: code === grpcStatus.OK ? grpcStatus.UNAVAILABLE : code, details, assignedSlots: 0 }
      const unanswered = [...this.#open.values()]
      this.forget()
      for (const { answered } of unanswered) answered(answer)
    })
    return call
  }
}
