import { type Client, type ClientDuplexStream, status as grpcStatus, type StatusObject } from '@grpc/grpc-js'
import { type GetKeyRequest, type GetKeysReply, type GetKeysRequest, keyServerService } from './messages.ts'

/** What became of a question: granted with code 0, or refused, by the server or because the stream has ended. */
export type Asked = { readonly code: number; readonly details: string; readonly assignedSlots: number }

/**
 * A client's questions for key, on one stream that is opened with the first of them and, after it has ended, with the next.
 * Every question is answered once, at the latest when the stream ends.
 */
export class AskStream {
  readonly #client: Client
  readonly #open = new Map<number, (answer: Asked) => void>()
  #call: ClientDuplexStream<GetKeysRequest, GetKeysReply> | undefined
  #nextNumber = 0

  constructor(client: Client) {
    this.#client = client
  }

  ask(getKey: GetKeyRequest, waitMs: number, answered: (answer: Asked) => void): void {
    const call = this.#call ?? this.#begin()
    const request = this.#nextNumber
    this.#nextNumber = (request + 1) >>> 0
    this.#open.set(request, answered)
    call.write({ request, getKey, waitMs })
  }

  /** Ends the stream; nobody is told. */
  close(): void {
    this.#open.clear()
    this.#call?.cancel()
    this.#call = undefined
  }

  #begin(): ClientDuplexStream<GetKeysRequest, GetKeysReply> {
    const { path, requestSerialize, responseDeserialize } = keyServerService.getKeys
    const call = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
    this.#call = call
    call.on('data', (answer: GetKeysReply) => {
      const answered = this.#open.get(answer.request)
      this.#open.delete(answer.request)
      answered?.(answer)
    })
    call.on('error', () => {}) // `status` tells the same, and comes in any case.
    call.on('status', ({ code, details }: StatusObject) => {
      if (this.#call !== call) return
      this.#call = undefined
      const unanswered = [...this.#open.values()]
      this.#open.clear()
      const answer = { code: code === grpcStatus.OK ? grpcStatus.UNAVAILABLE : code, details, assignedSlots: 0 }
      for (const answered of unanswered) answered(answer)
    })
    return call
  }
}
