/**
 * The ledger of a node: the high-water marks of all its channels as a file image, and the order in which it is written.
 *
 * ```
 *  0        8        12     16          20        24           32        96       160                  160 + 20 n
 *  Q104LDGR version  copy   copy bytes  n marks   generation   node id   run id   n x (ch side set slots msgIds)  CRC-32
 * ```
 *
 * The file holds two copies of this, each in blocks of its own. A generation is written and synced first to copy 0, then
 * to copy 1, and only then counts. So whichever one copy is torn or rotten, the newest that is whole has every mark that
 * anybody was allowed to use: falling back on it is sure, not a guess. Anything else is refused.
 */

import type { ChannelMark } from './marks.ts'
import { getU32, getU64, putU32, putU64 } from './octets.ts'

const MAGIC = 'Q104LDGR'
const VERSION = 1
/** Copies begin at multiples of this: no disk tears two of them with one write. */
const BLOCK_BYTES = 4096
const NAME_BYTES = 64
const HEADER_BYTES = 32 + 2 * NAME_BYTES
const MARK_BYTES = 20
const CRC_BYTES = 4
const MAX_MARKS = 65_536

/** Whose ledger it is; a file that says otherwise is foreign. */
export type LedgerIdentity = {
  /** Node id, 1..63 octets of UTF-8. */
  readonly node: string
  /** The run or lab whose keys it counts, 1..63 octets: another run has other key. */
  readonly run: string
  /** The node's ends of its links. */
  readonly ends: readonly { readonly link: number; readonly end: 0 | 1 }[]
}

/** What is wrong with a ledger. */
export type LedgerFault = 'notALedger' | 'version' | 'truncated' | 'torn' | 'disagree' | 'foreign'

/** These octets are no ledger that may be trusted. */
export class LedgerError extends Error {
  override readonly name = 'LedgerError'
  readonly fault: LedgerFault
  constructor(fault: LedgerFault, message: string) {
    super(message)
    this.fault = fault
  }
}

export type LedgerWrite = { readonly offset: number; readonly bytes: Uint8Array }

/** What a copy holds. */
type Copy = { readonly generation: number; readonly node: string; readonly run: string; readonly marks: Marks }
type Marks = ReadonlyMap<string, ChannelMark & { readonly isSet: boolean }>

/**
 * A ledger in memory. Whoever does the writing takes `nextWrite`, writes and syncs it, and says so by `settle`, until
 * there is no more to write. Pure: it writes nothing itself.
 */
export class Ledger {
  readonly #identity: LedgerIdentity
  /** What both copies have. */
  #settled: Marks
  #wanted: Marks
  #generation: number
  /** The write under way: which copy, and of which marks. */
  #writing: { readonly copy: 0 | 1; readonly generation: number; readonly marks: Marks } | undefined
  #stale: 0 | 1 | undefined

  private constructor(identity: LedgerIdentity, copy: Pick<Copy, 'generation' | 'marks'>, stale?: 0 | 1) {
    this.#identity = identity
    this.#settled = copy.marks
    this.#wanted = copy.marks
    this.#generation = copy.generation
    this.#stale = stale
  }

  /** A new ledger: no mark is set. RangeError for names that are too long and links that are there twice. */
  static create(identity: LedgerIdentity): Ledger {
    return new Ledger(identity, { generation: 1, marks: emptyMarks(identity) })
  }

  /**
   * Reads a file.
   * @throws LedgerError that says what is wrong with it.
   */
  static read(bytes: Uint8Array, identity: LedgerIdentity): Ledger {
    const { copies, first } = readCopies(bytes)
    checkOwner(first, identity)
    const [a, b] = copies
    if (a === undefined || b === undefined) return new Ledger(identity, first, a === undefined ? 0 : 1)
    return new Ledger(identity, first, a.generation === b.generation ? undefined : 1)
  }

  /** The marks that are set and durable. */
  get marks(): readonly ChannelMark[] {
    return [...this.#settled.values()].flatMap(({ isSet, ...mark }) => (isSet ? [mark] : []))
  }

  /** The whole file, as it is when nothing is being written. */
  get image(): Uint8Array {
    const copyBytes = sizeOfCopy(this.#settled.size)
    const bytes = new Uint8Array(2 * copyBytes)
    for (const copy of [0, 1] as const) bytes.set(this.#encode(copy, this.#generation, this.#settled), copy * copyBytes)
    return bytes
  }

  /** Wants a mark durable; marks only rise. RangeError for a channel that is not of this node. */
  reserve(mark: ChannelMark): void {
    const known = this.#wanted.get(keyOf(mark))
    if (known === undefined) throw new RangeError(`channel ${mark.channel} ${mark.side} is not in this ledger`)
    const slots = Math.max(known.slots, mark.slots)
    const msgIds = Math.max(known.msgIds, mark.msgIds)
    this.#wanted = new Map(this.#wanted).set(keyOf(mark), { ...mark, slots, msgIds, isSet: true })
  }

  /** What is to be written and synced next; undefined when all is durable. The same until `settle`. */
  nextWrite(): LedgerWrite | undefined {
    this.#writing ??= this.#begin()
    if (this.#writing === undefined) return undefined
    const { copy, generation, marks } = this.#writing
    return { offset: copy * sizeOfCopy(marks.size), bytes: this.#encode(copy, generation, marks) }
  }

  /** The write of `nextWrite` is on disk; gives the marks that have become durable by it. */
  settle(): readonly ChannelMark[] {
    const writing = this.#writing
    if (writing === undefined) return []
    const { copy, generation, marks } = writing
    if (copy === 0 && generation !== this.#generation) {
      this.#writing = { ...writing, copy: 1 }
      return []
    }
    const before = this.#settled
    this.#writing = undefined
    this.#stale = undefined
    this.#generation = generation
    this.#settled = marks
    return [...marks.values()].flatMap(({ isSet, ...mark }) => {
      const old = before.get(keyOf(mark))
      return isSet && (!old?.isSet || old.slots !== mark.slots || old.msgIds !== mark.msgIds) ? [mark] : []
    })
  }

  #begin(): { readonly copy: 0 | 1; readonly generation: number; readonly marks: Marks } | undefined {
    if (this.#stale !== undefined) return { copy: this.#stale, generation: this.#generation, marks: this.#settled }
    if (this.#wanted === this.#settled) return undefined
    return { copy: 0, generation: this.#generation + 1, marks: this.#wanted }
  }

  #encode(copy: 0 | 1, generation: number, marks: Marks): Uint8Array {
    const bytes = new Uint8Array(sizeOfCopy(marks.size))
    bytes.set(new TextEncoder().encode(MAGIC))
    for (const [index, value] of [VERSION, copy, bytes.length, marks.size].entries())
      putU32(bytes, 8 + 4 * index, value)
    putU64(bytes, 24, generation)
    putName(bytes, 32, this.#identity.node)
    putName(bytes, 32 + NAME_BYTES, this.#identity.run)
    let offset = HEADER_BYTES
    for (const { channel, side, isSet, slots, msgIds } of marks.values()) {
      bytes[offset] = channel >> 8
      bytes[offset + 1] = channel
      bytes[offset + 2] = side === 'sender' ? 0 : 1
      bytes[offset + 3] = isSet ? 1 : 0
      putU64(bytes, offset + 4, slots)
      putU64(bytes, offset + 12, msgIds)
      offset += MARK_BYTES
    }
    putU32(bytes, offset, crc32(bytes.subarray(0, offset)))
    return bytes
  }
}

/** A ledger as an auditor sees it, whoever it is of. */
export type LedgerContent = {
  readonly node: string
  readonly run: string
  readonly generation: number
  readonly marks: readonly ChannelMark[]
}

/**
 * Reads a file without knowing whose it is.
 * @throws LedgerError that says what is wrong with it.
 */
export function readLedger(bytes: Uint8Array): LedgerContent {
  const { node, run, generation, marks } = readCopies(bytes).first
  const set = [...marks.values()].flatMap(({ isSet, ...mark }) => (isSet ? [mark] : []))
  return { node, run, generation, marks: set }
}

/** Both copies, undefined where torn, and the newest that is whole. */
function readCopies(bytes: Uint8Array): {
  readonly copies: readonly [Copy | undefined, Copy | undefined]
  readonly first: Copy
} {
  if (bytes.length === 0) throw new LedgerError('truncated', 'the file is empty')
  if (bytes.length % (2 * BLOCK_BYTES) !== 0) {
    throw new LedgerError('truncated', `${bytes.length} octets, not a multiple of ${2 * BLOCK_BYTES}: cut off or grown`)
  }
  const copyBytes = bytes.length / 2
  const [a, b] = [readCopy(bytes.subarray(0, copyBytes), 0), readCopy(bytes.subarray(copyBytes), 1)]
  const first = isCopy(a) ? a : b
  if (!isCopy(first)) {
    const faults = [a, b].flatMap((copy) => (isCopy(copy) ? [] : [copy]))
    const worst = faults.find(({ fault }) => fault !== 'torn') ?? faults[0]
    throw new LedgerError(worst?.fault ?? 'torn', `neither copy is whole: ${faults.map(({ text }) => text).join('; ')}`)
  }
  if (!isCopy(a) || !isCopy(b)) return { copies: [isCopy(a) ? a : undefined, isCopy(b) ? b : undefined], first }
  // Copy 0 is written first, so it is never older, and never more than one generation newer.
  if (a.generation - b.generation > 1 || a.generation < b.generation) {
    throw new LedgerError(
      'disagree',
      `copies of generations ${a.generation} and ${b.generation}, which no crash leaves`,
    )
  }
  if (a.node !== b.node || a.run !== b.run || [...a.marks.keys()].join() !== [...b.marks.keys()].join()) {
    throw new LedgerError('disagree', 'the two copies are of different ledgers')
  }
  return { copies: [a, b], first: a }
}

type BadCopy = { readonly fault: LedgerFault; readonly text: string }

function isCopy(copy: Copy | BadCopy): copy is Copy {
  return !('fault' in copy)
}

function readCopy(bytes: Uint8Array, copy: 0 | 1): Copy | BadCopy {
  const bad = (fault: LedgerFault, text: string): BadCopy => ({ fault, text: `copy ${copy}: ${text}` })
  if (new TextDecoder().decode(bytes.subarray(0, 8)) !== MAGIC) return bad('notALedger', 'does not begin as a ledger')
  if (getU32(bytes, 8) !== VERSION) return bad('version', `version ${getU32(bytes, 8)}, not ${VERSION}`)
  const count = getU32(bytes, 20)
  if (getU32(bytes, 12) !== copy || count > MAX_MARKS || getU32(bytes, 16) !== sizeOfCopy(count)) {
    return bad('torn', 'a header that contradicts itself')
  }
  if (getU32(bytes, 16) !== bytes.length) return bad('truncated', `${bytes.length} octets of ${getU32(bytes, 16)}`)
  const end = HEADER_BYTES + count * MARK_BYTES
  if (getU32(bytes, end) !== crc32(bytes.subarray(0, end))) return bad('torn', 'its CRC is wrong')
  const marks = new Map<string, ChannelMark & { readonly isSet: boolean }>()
  for (let offset = HEADER_BYTES; offset < end; offset += MARK_BYTES) {
    const channel = ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
    const side = bytes[offset + 2] === 0 ? 'sender' : 'receiver'
    const [slots, msgIds] = [getU64(bytes, offset + 4), getU64(bytes, offset + 12)]
    if (!Number.isSafeInteger(slots) || !Number.isSafeInteger(msgIds))
      return bad('torn', `channel ${channel}: above 2^53`)
    marks.set(`${channel} ${side}`, { channel, side, slots, msgIds, isSet: bytes[offset + 3] === 1 })
  }
  return { generation: getU64(bytes, 24), node: getName(bytes, 32), run: getName(bytes, 32 + NAME_BYTES), marks }
}

function checkOwner({ node, run, marks }: Copy, identity: LedgerIdentity): void {
  if (node !== identity.node) throw new LedgerError('foreign', `it is of node '${node}', not '${identity.node}'`)
  if (run !== identity.run) throw new LedgerError('foreign', `it is of run '${run}', not '${identity.run}'`)
  const [has, wants] = [[...marks.keys()], [...emptyMarks(identity).keys()]]
  if (has.join() !== wants.join()) {
    throw new LedgerError('foreign', `it is of channels ${has.join(', ')}; the node has ${wants.join(', ')}`)
  }
}

/** In the order of the channels, whatever the order of the ends. */
function emptyMarks({ ends }: LedgerIdentity): Marks {
  const marks = ends.flatMap(({ link, end }): ChannelMark[] => [
    { channel: 2 * link + end, side: 'sender', slots: 0, msgIds: 0 },
    { channel: 2 * link + 1 - end, side: 'receiver', slots: 0, msgIds: 0 },
  ])
  marks.sort((a, b) => a.channel - b.channel)
  const byKey = new Map(marks.map((mark) => [keyOf(mark), { ...mark, isSet: false }]))
  if (byKey.size !== marks.length) throw new RangeError('a link is there twice')
  return byKey
}

function keyOf({ channel, side }: ChannelMark): string {
  return `${channel} ${side}`
}

function sizeOfCopy(marks: number): number {
  return BLOCK_BYTES * Math.ceil((HEADER_BYTES + marks * MARK_BYTES + CRC_BYTES) / BLOCK_BYTES)
}

/** Length (1), then the name. */
function putName(bytes: Uint8Array, offset: number, name: string): void {
  const octets = new TextEncoder().encode(name)
  if (octets.length < 1 || octets.length >= NAME_BYTES) throw new RangeError(`'${name}' is not of 1..63 octets`)
  bytes[offset] = octets.length
  bytes.set(octets, offset + 1)
}

function getName(bytes: Uint8Array, offset: number): string {
  const sizeBytes = Math.min(bytes[offset] ?? 0, NAME_BYTES - 1)
  return new TextDecoder().decode(bytes.subarray(offset + 1, offset + 1 + sizeBytes))
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, octet) => {
  let crc = octet
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1
  return crc
})

/** CRC-32 of ISO 3309. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const octet of bytes) crc = (CRC_TABLE[(crc ^ octet) & 0xff] ?? 0) ^ (crc >>> 8)
  return (crc ^ 0xffff_ffff) >>> 0
}
