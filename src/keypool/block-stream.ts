import type { ServerWritableStream } from '@grpc/grpc-js'
import type { KeyBlock } from '../runtime/contract.ts'
import type { BlocksRequest } from './messages.ts'
import { SLOT_BYTES } from './pool-options.ts'

/** Blocks fetched at once for a reader that catches up. */
const BATCH_BLOCKS = 32
/** What is handed to gRPC ahead of its reader: one block may go beyond. */
const MAX_PENDING_BYTES = 65_536

/** Copies of the blocks, at most so many, that wait for a node on a channel, from a slot on. */
export type GiveBlocks = (channel: number, fromSlot: number, maxBlocks: number) => KeyBlock[]
export type BlockCall = ServerWritableStream<BlocksRequest, KeyBlock>

/**
 * A node's stream of blocks, which takes no more than its reader: what a slow one leaves stays in the node's outbox, one copy of
 * it, and is fetched from there when the reader has caught up.
 */
export class BlockStream {
  readonly call: BlockCall
  /** Of each channel that is behind, where it goes on. */
  readonly #behind = new Map<number, number>()
  readonly #give: GiveBlocks
  readonly #nowMs: () => number
  #pendingBytes = 0
  #behindSinceMs: number | undefined

  constructor(call: BlockCall, give: GiveBlocks, nowMs: () => number) {
    this.call = call
    this.#give = give
    this.#nowMs = nowMs
  }

  /** Lab time since which the reader has taken nothing although something waits for it. */
  get behindSinceMs(): number | undefined {
    return this.#behindSinceMs
  }

  write(block: KeyBlock): void {
    if (block.bytes.length === 0 && !this.call.writableEnded) {
      // Where a stream goes on is in no outbox: it cannot be fetched later, and what lies before it need not be.
      const fromSlot = this.#behind.get(block.channel)
      if (fromSlot !== undefined) this.#behind.set(block.channel, Math.max(fromSlot, block.slot))
      this.#send(block)
      return
    }
    const mustWait = this.#isFull || this.call.writableEnded || this.#behind.has(block.channel)
    if (mustWait) this.#fallBehind(block)
    else this.#send(block)
  }

  get #isFull(): boolean {
    return this.call.writableNeedDrain || this.#pendingBytes >= MAX_PENDING_BYTES
  }

  #send(block: KeyBlock): void {
    const sizeBytes = block.bytes.length
    this.#pendingBytes += sizeBytes
    this.call.write(block, () => {
      this.#pendingBytes -= sizeBytes
      if (this.#behind.size > 0) this.#behindSinceMs = this.#nowMs()
      this.#catchUp()
    })
  }

  #catchUp(): void {
    for (const [channel, fromSlot] of [...this.#behind]) {
      if (this.#isFull || this.call.writableEnded) return
      this.#behind.delete(channel)
      const batch = this.#give(channel, fromSlot, BATCH_BLOCKS)
      for (const block of batch) this.write(block)
      const last = batch.at(-1)
      if (last === undefined || batch.length < BATCH_BLOCKS || this.#behind.has(channel)) continue
      this.#behind.set(channel, last.slot + last.bytes.length / SLOT_BYTES)
    }
    if (this.#behind.size === 0) this.#behindSinceMs = undefined
  }

  #fallBehind(block: KeyBlock): void {
    this.#behindSinceMs ??= this.#nowMs()
    if (!this.#behind.has(block.channel)) this.#behind.set(block.channel, block.slot)
    block.bytes.fill(0)
  }
}
