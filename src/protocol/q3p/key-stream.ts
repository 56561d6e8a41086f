/** Octets of a key slot. */
export const SLOT_BYTES = 4

const CHUNK_SLOTS = 1024
/** So many zeros in a row are no key: by chance they come once in 2^128 blocks. */
const MIN_ZERO_BYTES = 16

/** What became of a block: appended, or a repetition that agrees with what is here; all else is refused. */
export type AppendResult =
  | 'appended'
  | 'duplicate'
  /** Not a whole number of slots, or a slot number that is not 0..2^53-1. */
  | 'malformed'
  /** Begins after the end of the stream. */
  | 'gap'
  /** Begins before the end of the stream and goes beyond it. */
  | 'overlap'
  /** Repeats slots with other octets. */
  | 'conflict'
  /** Nothing but zeros: overwritten key, not key. */
  | 'zeros'

type Arrival = { readonly endSlot: number; readonly atMs: number }
type Chunk = { readonly bytes: Uint8Array; readonly burnt: Uint32Array }

/**
 * One end's copy of a channel's key stream, by slots of 4 octets. The sender takes slots in order (`take`); the receiver
 * reads the slots a frame names and burns them once the frame is accepted. Used octets are overwritten at once.
 * The first block may begin at any slot: what lies before it was used or discarded before this end started.
 */
export class KeyStream {
  readonly #chunks = new Map<number, Chunk>()
  #baseSlot = 0
  #lengthSlots = 0
  #usedSlots = 0
  #discardedSlots = 0
  #takenSlots = 0
  /** Slots below are never used, delivered or not. */
  #floorSlot = 0
  #isEmpty = true
  /** Ends of the blocks as they came, with the time, oldest first: what `expire` goes by. */
  #arrivals: Arrival[] = []

  /** End of the stream: slots delivered so far, those before this end's first block included. */
  get lengthSlots(): number {
    return this.#lengthSlots
  }

  /** Slots used: the sender's next slot; at a receiver the end of the last slot seen used, gaps included. */
  get usedSlots(): number {
    return this.#usedSlots
  }

  /** Slots between the used ones and the end. */
  get availableSlots(): number {
    return Math.max(0, this.#lengthSlots - this.#usedSlots)
  }

  /** Of the used slots, those that were skipped and protected nothing. */
  get discardedSlots(): number {
    return this.#discardedSlots
  }

  /** Where this end's stream began: the slots before are of earlier lives. */
  get baseSlot(): number {
    return this.#baseSlot
  }

  /** End of the last run of slots that `take` gave; 0 when there was none. */
  get takenSlots(): number {
    return this.#takenSlots
  }

  /** The lowest slot this end can have key for, as far as it knows. */
  get firstSlot(): number {
    return Math.max(this.#baseSlot, this.#floorSlot)
  }

  /**
   * Appends a block; its octets are copied. The first block (it may be empty) says where the stream begins. `nowMs` is
   * when it came, for `expire`.
   */
  append(slot: number, bytes: Uint8Array, nowMs = 0): AppendResult {
    const endSlot = slot + bytes.length / SLOT_BYTES
    if (!Number.isSafeInteger(slot) || slot < 0 || !Number.isSafeInteger(endSlot)) return 'malformed'
    if (bytes.length >= MIN_ZERO_BYTES && isZeros(bytes)) return 'zeros'
    if (this.#isEmpty) this.#begin(slot)
    if (slot > this.#lengthSlots) return 'gap'
    if (slot < this.#lengthSlots) {
      if (endSlot > this.#lengthSlots) return 'overlap'
      return this.#agrees(slot, bytes) ? 'duplicate' : 'conflict'
    }
    const keptSlot = Math.min(endSlot, Math.max(slot, this.#floorSlot))
    const kept = bytes.subarray((keptSlot - slot) * SLOT_BYTES)
    this.#pieces(keptSlot, endSlot - keptSlot, (chunk, fromByte, toByte, offset) => {
      chunk.bytes.set(kept.subarray(offset, offset + toByte - fromByte), fromByte)
    })
    this.#lengthSlots = endSlot
    this.#prune()
    if (endSlot > slot) this.#arrivals.push({ endSlot, atMs: nowMs })
    return 'appended'
  }

  /**
   * What this end lacks of the stream before `slot` will never come: it goes on there. The missing slots can neither be
   * read nor taken, and count as used. Nothing changes when the stream reaches so far already.
   */
  goOn(slot: number): AppendResult {
    if (!Number.isSafeInteger(slot) || slot < 0) return 'malformed'
    if (this.#isEmpty) this.#begin(slot)
    if (slot <= this.#lengthSlots) return 'duplicate'
    this.#burnHole(this.#lengthSlots, slot)
    this.#usedSlots = Math.max(this.#usedSlots, slot)
    this.#lengthSlots = slot
    return 'appended'
  }

  /**
   * Gives up all slots below `slot`, which may lie beyond the end: they are overwritten, now or when they come, and count
   * as used and discarded.
   */
  skipTo(slot: number): void {
    if (slot <= this.#floorSlot) return
    this.#floorSlot = slot
    if (this.#isEmpty) return
    this.#discardedSlots += Math.max(0, slot - this.#usedSlots)
    this.#usedSlots = Math.max(slot, this.#usedSlots)
    this.burnBelow(slot)
  }

  /** When the oldest key that is left will be `lifeMs` old; undefined when none is left. */
  oldestExpiryMs(lifeMs: number): number | undefined {
    this.#prune()
    const oldest = this.#arrivals[0]
    return oldest && oldest.atMs + lifeMs
  }

  /** Gives up key that came `lifeMs` ago or earlier. */
  expire(nowMs: number, lifeMs: number): void {
    const oldest = this.#arrivals[0]
    if (oldest === undefined || oldest.atMs + lifeMs > nowMs) return
    const expired = this.#arrivals.findLast(({ atMs }) => atMs + lifeMs <= nowMs)
    if (expired !== undefined) this.skipTo(expired.endSlot)
  }

  /**
   * Sender: the next `slots` unused slots, never given twice; undefined when there are not so many. `bytes` is the only
   * copy: overwrite it after use.
   */
  take(slots: number): { readonly slot: number; readonly bytes: Uint8Array } | undefined {
    if (slots > this.availableSlots) return undefined
    const slot = this.#usedSlots
    const bytes = this.#copy(slot, slots)
    this.burn(slot, slots)
    this.#takenSlots = this.#usedSlots
    this.#free(this.#usedSlots)
    return { slot, bytes }
  }

  /**
   * Receiver: a copy of the material of a frame, to be overwritten after use; 'notYet' when the stream does not reach so
   * far, 'gone' when some of it is used, freed, or was never delivered to this end.
   */
  read(slot: number, slots: number): Uint8Array | 'notYet' | 'gone' {
    return this.lack(slot, slots) ?? this.#copy(slot, slots)
  }

  /** As `read`, into the start of `out`, which has room for it; undefined when it was done. */
  readInto(slot: number, slots: number, out: Uint8Array): 'notYet' | 'gone' | undefined {
    const lack = this.lack(slot, slots)
    if (lack !== undefined) return lack
    this.#pieces(slot, slots, (chunk, fromByte, toByte, offset) => {
      for (let at = fromByte; at < toByte; at += 1) out[offset + at - fromByte] = chunk.bytes[at] ?? 0
    })
    return undefined
  }

  /** Why `read` gives nothing, or undefined when it would give the material. */
  lack(slot: number, slots: number): 'notYet' | 'gone' | undefined {
    if (slot < this.firstSlot) return 'gone'
    if (slot + slots > this.#lengthSlots) return 'notYet'
    for (let index = slot; index < slot + slots; index += 1) if (this.#isBurnt(index)) return 'gone'
    return undefined
  }

  /** Overwrites slots for good; they count as used, and so does all before them. */
  burn(slot: number, slots: number): void {
    this.#pieces(slot, slots, (chunk, fromByte, toByte) => {
      chunk.bytes.fill(0, fromByte, toByte)
      for (let index = fromByte / SLOT_BYTES; index < toByte / SLOT_BYTES; index += 1) {
        chunk.burnt[index >> 5] = (chunk.burnt[index >> 5] ?? 0) | (1 << (index & 31))
      }
    })
    this.#usedSlots = Math.max(this.#usedSlots, slot + slots)
  }

  /** Overwrites and forgets all before `slot`, which is at most the used slots. */
  burnBelow(slot: number): void {
    const firstChunk = Math.floor(slot / CHUNK_SLOTS)
    for (const [index, chunk] of this.#chunks) if (index < firstChunk) chunk.bytes.fill(0)
    if (slot % CHUNK_SLOTS > 0 && this.#chunks.has(firstChunk)) this.burn(firstChunk * CHUNK_SLOTS, slot % CHUNK_SLOTS)
    this.#free(slot)
  }

  /** Counts only: key octets are in no text. */
  toJSON(): { readonly lengthSlots: number; readonly usedSlots: number } {
    return { lengthSlots: this.#lengthSlots, usedSlots: this.#usedSlots }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `KeyStream { lengthSlots: ${this.#lengthSlots}, usedSlots: ${this.#usedSlots} }`
  }

  #begin(slot: number): void {
    this.#baseSlot = slot
    this.#lengthSlots = slot
    this.#usedSlots = Math.max(slot, this.#floorSlot)
    this.#discardedSlots = this.#usedSlots - slot
    this.#isEmpty = false
  }

  /** Chunks that are not there count as burnt, so only those at the two ends of the hole have to be marked. */
  #burnHole(slot: number, endSlot: number): void {
    const firstEnd = Math.min(endSlot, (Math.floor(slot / CHUNK_SLOTS) + 1) * CHUNK_SLOTS)
    const lastStart = Math.max(firstEnd, endSlot - (endSlot % CHUNK_SLOTS))
    this.burn(slot, firstEnd - slot)
    this.burn(lastStart, endSlot - lastStart)
  }

  #prune(): void {
    const usedSlots = Math.max(this.#usedSlots, this.#floorSlot)
    const first = this.#arrivals[0]
    if (first === undefined || first.endSlot > usedSlots) return
    const kept = this.#arrivals.findIndex(({ endSlot }) => endSlot > usedSlots)
    this.#arrivals = kept < 0 ? [] : this.#arrivals.slice(kept)
  }

  #copy(slot: number, slots: number): Uint8Array {
    const chunk = this.#chunks.get(Math.floor(slot / CHUNK_SLOTS))
    const fromByte = (slot % CHUNK_SLOTS) * SLOT_BYTES
    const toByte = fromByte + slots * SLOT_BYTES
    if (chunk !== undefined && toByte <= chunk.bytes.length) return chunk.bytes.slice(fromByte, toByte)
    const copy = new Uint8Array(slots * SLOT_BYTES)
    this.#pieces(slot, slots, (piece, from, to, offset) => copy.set(piece.bytes.subarray(from, to), offset))
    return copy
  }

  /** Visits the parts of a run of slots chunk by chunk; `offset` is the part's place in the run, in octets. */
  #pieces(
    slot: number,
    slots: number,
    visit: (chunk: Chunk, fromByte: number, toByte: number, offset: number) => void,
  ): void {
    for (let done = 0; done < slots; ) {
      const index = Math.floor((slot + done) / CHUNK_SLOTS)
      const from = (slot + done) % CHUNK_SLOTS
      const count = Math.min(CHUNK_SLOTS - from, slots - done)
      visit(this.#chunk(index), from * SLOT_BYTES, (from + count) * SLOT_BYTES, done * SLOT_BYTES)
      done += count
    }
  }

  #chunk(index: number): Chunk {
    const known = this.#chunks.get(index)
    if (known !== undefined) return known
    const chunk = { bytes: new Uint8Array(CHUNK_SLOTS * SLOT_BYTES), burnt: new Uint32Array(CHUNK_SLOTS / 32) }
    this.#chunks.set(index, chunk)
    return chunk
  }

  #isBurnt(slot: number): boolean {
    const chunk = this.#chunks.get(Math.floor(slot / CHUNK_SLOTS))
    const index = slot % CHUNK_SLOTS
    return chunk === undefined || ((chunk.burnt[index >> 5] ?? 0) & (1 << (index & 31))) !== 0
  }

  #free(belowSlot: number): void {
    const firstChunk = Math.floor(belowSlot / CHUNK_SLOTS)
    for (const index of this.#chunks.keys()) {
      if (index >= firstChunk) break
      this.#chunks.delete(index)
    }
  }

  /** Compares with the octets still held; of used slots nothing is known any more. */
  #agrees(slot: number, bytes: Uint8Array): boolean {
    let difference = 0
    for (let index = 0; index < bytes.length; index += SLOT_BYTES) {
      const at = slot + index / SLOT_BYTES
      if (at < this.#baseSlot || this.#isBurnt(at)) continue
      const held = this.#copy(at, 1)
      for (let octet = 0; octet < SLOT_BYTES; octet += 1) difference |= (held[octet] ?? 0) ^ (bytes[index + octet] ?? 0)
      held.fill(0)
    }
    return difference === 0
  }
}

function isZeros(bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index += 1) if (bytes[index] !== 0) return false
  return true
}
