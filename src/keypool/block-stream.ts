import type { ServerWritableStream } from '@grpc/grpc-js'
import type { KeyBlock } from '../runtime/contract.ts'
import type { BlocksRequest, SentBlock } from './messages.ts'
import { SLOT_BYTES } from './pool-options.ts'

/** Blocks fetched at once for a reader that catches up. */
const BATCH_BLOCKS = 32
/** What is handed to gRPC ahead of its reader, or gathered for it: one block may go beyond. */
const MAX_PENDING_BYTES = 65_536

/** Copies of the blocks, at most so many, that wait for a node on a channel, from a slot on. */
export type GiveBlocks = (channel: number, fromSlot: number, maxBlocks: number) => KeyBlock[]
export type BlockCall = ServerWritableStream<BlocksRequest, SentBlock>

/**
 * A node's stream of blocks, which takes no more than its reader: what a slow one leaves stays in the node's outbox, one copy of
 * it, and is fetched from there when the reader has caught up. Blocks that come together go in one message, if the node reads
 * such, and so do those that come while a message is on its way: a message costs far more than a block.
 */
export class BlockStream {
  readonly call: BlockCall
  /** Of each channel that is behind, where it goes on. */
  readonly #behind = new Map<number, number>()
  readonly #give: GiveBlocks
  readonly #nowMs: () => number
  readonly #readsTogether: boolean
  /** What goes with the next message. */
  #gathered: KeyBlock[] = []
  #isSending = false
  #pendingBytes = 0
  #behindSinceMs: number | undefined

  constructor(call: BlockCall, give: GiveBlocks, nowMs: () => number) {
    this.call = call
    this.#give = give
    this.#nowMs = nowMs
    this.#readsTogether = call.request.together === true
  }

  /** Lab time since which the reader has taken nothing although something waits for it. */
  get behindSinceMs(): number | undefined {
    return this.#behindSinceMs
  }

  /** Takes a block; it goes out at the next `flush`, or before. */
  write(block: KeyBlock): void {
    if (block.bytes.length === 0 && !this.call.writableEnded) {
      // Where a stream goes on is in no outbox: it cannot be fetched later, and what lies before it need not be.
      const fromSlot = this.#behind.get(block.channel)
      if (fromSlot !== undefined) this.#behind.set(block.channel, Math.max(fromSlot, block.slot))
      this.#gather(block)
      return
    }
    const mustWait = this.#isFull || this.call.writableEnded || this.#behind.has(block.channel)
    if (mustWait) this.#fallBehind(block)
    else this.#gather(block)
  }

  /** Sends what was gathered, unless an earlier message is still on its way: then that is done when it has gone. */
  flush(): void {
    const [first, ...further] = this.#gathered
    if (first === undefined || (this.#isSending && this.#readsTogether)) return
    if (this.call.writableEnded) {
      this.wipe()
      return
    }
    this.#gathered = []
    let sizeBytes = first.bytes.length
    for (const { bytes } of further) sizeBytes += bytes.length
    this.#isSending = true
    this.call.write(further.length === 0 ? first : { ...first, further }, () => {
      this.#isSending = false
      this.#pendingBytes -= sizeBytes
      if (this.#behind.size > 0) this.#behindSinceMs = this.#nowMs()
      this.#catchUp()
      this.flush()
    })
  }

  /** Overwrites what was gathered: the call is over, and the outbox has all of it. */
  wipe(): void {
    for (const { bytes } of this.#gathered) bytes.fill(0)
    this.#gathered = []
  }

  get #isFull(): boolean {
    return this.call.writableNeedDrain || this.#pendingBytes >= MAX_PENDING_BYTES
  }

  #gather(block: KeyBlock): void {
    this.#pendingBytes += block.bytes.length
    this.#gathered.push(block)
    if (!this.#readsTogether) this.flush()
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
