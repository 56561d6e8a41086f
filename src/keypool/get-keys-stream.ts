import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js'
import { type CallStatus, NO_BLOCKS, TOO_MANY_CALLS } from './call-status.ts'
import type { GetKeyDesk } from './get-key.ts'
import type { GetKeysReply, GetKeysRequest, KeyQuestion } from './messages.ts'

/** Answers handed to gRPC that have not gone out: with so many, no further message is read. */
const MAX_UNSENT = 256
/** A node that asks more often than it may is not read for so long. */
const REST_MS = 50

export type GetKeysCall = ServerDuplexStream<GetKeysRequest, GetKeysReply>

export type GetKeysStreamOptions = {
  readonly call: GetKeysCall
  readonly client: string
  readonly desk: GetKeyDesk
  /** Whether the node may ask once more now. */
  readonly admit: () => boolean
  readonly nowMs: () => number
}

/**
 * A node's questions on one stream. What it does not read stops what it asks: beyond the unsent answers, and those to one
 * message, nothing piles up here.
 */
export class GetKeysStream {
  readonly call: GetKeysCall
  readonly #options: GetKeysStreamOptions
  #rest: NodeJS.Timeout | undefined
  #unsent = 0
  #behindSinceMs: number | undefined

  constructor(options: GetKeysStreamOptions) {
    const { call } = options
    this.call = call
    this.#options = options
    call.on('data', (first: GetKeysRequest) => {
      this.#take(first)
      for (const question of first.further ?? []) this.#take(question)
    })
    call.on('end', () => {
      this.leave()
      call.end()
    })
    call.sendMetadata(new Metadata())
  }

  /** Lab time since which the caller reads none of its answers. */
  get behindSinceMs(): number | undefined {
    return this.#behindSinceMs
  }

  /** The caller is gone: nothing of it waits any more. */
  leave(): void {
    clearTimeout(this.#rest)
    this.#options.desk.leave(this)
  }

  #take({ request, getKey, waitMs, quiet = false }: KeyQuestion): void {
    const refuse = ({ code, details }: CallStatus): void => {
      this.#write({ request, code, details, assignedSlots: 0 })
    }
    if (!this.#options.admit()) {
      refuse(TOO_MANY_CALLS)
      this.#pause(REST_MS)
      return
    }
    // The key comes by Blocks alone.
    if ((getKey.instance ?? '') === '') {
      refuse(NO_BLOCKS)
      return
    }
    this.#options.desk.askSoon({
      ...{ client: this.#options.client, owner: this, request: getKey, waitMs, refuse },
      grant: ({ assignedSlots }, isNew) => {
        if (!(isNew && quiet)) this.#write({ request, code: 0, details: '', assignedSlots })
      },
    })
  }

  #write(reply: GetKeysReply): void {
    if (this.call.writableEnded) return
    this.#unsent += 1
    if (this.#unsent >= MAX_UNSENT && this.#behindSinceMs === undefined) {
      this.#behindSinceMs = this.#options.nowMs()
      this.call.pause()
    }
    this.call.write(reply, () => {
      this.#unsent -= 1
      if (this.#behindSinceMs === undefined) return
      this.#behindSinceMs = this.#options.nowMs()
      if (this.#unsent > MAX_UNSENT / 2) return
      this.#behindSinceMs = undefined
      if (this.#rest === undefined) this.call.resume()
    })
  }

  #pause(restMs: number): void {
    this.call.pause()
    this.#rest ??= setTimeout(() => {
      this.#rest = undefined
      if (this.#behindSinceMs === undefined) this.call.resume()
    }, restMs)
  }
}
