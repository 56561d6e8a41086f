/** Little-endian octets, as IEC 60870-5 sends all numbers. */
import { WireError } from './errors.ts'

/** Reads octets in order. Every read past the end throws a TRUNCATED WireError; nothing else throws. */
export class OctetReader {
  readonly #view: DataView
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get offset(): number {
    return this.#offset
  }

  get leftBytes(): number {
    return this.#bytes.length - this.#offset
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }

  u24(): number {
    const at = this.#take(3)
    return this.#view.getUint16(at, true) | (this.#view.getUint8(at + 2) << 16)
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  i16(): number {
    return this.#view.getInt16(this.#take(2), true)
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), true)
  }

  f32(): number {
    return this.#view.getFloat32(this.#take(4), true)
  }

  /** An unsigned number of 1, 2 or 3 octets. */
  uint(sizeBytes: 1 | 2 | 3): number {
    return sizeBytes === 1 ? this.u8() : sizeBytes === 2 ? this.u16() : this.u24()
  }

  /** A copy of the next octets. */
  bytes(sizeBytes: number): Uint8Array {
    const at = this.#take(sizeBytes)
    return new Uint8Array(this.#bytes.subarray(at, at + sizeBytes)) // A copy, of a Buffer too.
  }

  #take(sizeBytes: number): number {
    const at = this.#offset
    const leftBytes = this.#bytes.length - at
    if (sizeBytes > leftBytes) throw new WireError({ code: 'TRUNCATED', neededBytes: sizeBytes, leftBytes }, at)
    this.#offset = at + sizeBytes
    return at
  }
}

/** Writes octets in order into a buffer of fixed size. RangeError for a number that does not fit, or a full buffer. */
export class OctetWriter {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #offset = 0

  constructor(limitBytes: number) {
    this.#bytes = new Uint8Array(limitBytes)
    this.#view = new DataView(this.#bytes.buffer)
  }

  u8(value: number): void {
    this.#view.setUint8(this.#take(1, value, 0, 0xff), value)
  }

  u16(value: number): void {
    this.#view.setUint16(this.#take(2, value, 0, 0xffff), value, true)
  }

  u24(value: number): void {
    const at = this.#take(3, value, 0, 0xff_ffff)
    this.#view.setUint16(at, value & 0xffff, true)
    this.#view.setUint8(at + 2, value >> 16)
  }

  u32(value: number): void {
    this.#view.setUint32(this.#take(4, value, 0, 0xffff_ffff), value, true)
  }

  i16(value: number): void {
    this.#view.setInt16(this.#take(2, value, -0x8000, 0x7fff), value, true)
  }

  i32(value: number): void {
    this.#view.setInt32(this.#take(4, value, -0x8000_0000, 0x7fff_ffff), value, true)
  }

  /** Rounds to the nearest short float; beyond its range that is an infinity. */
  f32(value: number): void {
    this.#view.setFloat32(this.#take(4, 0, 0, 0), value, true)
  }

  /** An unsigned number of 1, 2 or 3 octets. */
  uint(sizeBytes: 1 | 2 | 3, value: number): void {
    if (sizeBytes === 1) this.u8(value)
    else if (sizeBytes === 2) this.u16(value)
    else this.u24(value)
  }

  bytes(octets: Uint8Array): void {
    this.#bytes.set(octets, this.#take(octets.length, 0, 0, 0))
  }

  /** What was written: a copy of its own, or the buffer itself when that is full. */
  finish(): Uint8Array {
    return this.#offset === this.#bytes.length ? this.#bytes : this.#bytes.slice(0, this.#offset)
  }

  #take(sizeBytes: number, value: number, min: number, max: number): number {
    if (!Number.isInteger(value) || value < min || value > max)
      throw new RangeError(`${value} is not in ${min}..${max}`)
    const at = this.#offset
    if (at + sizeBytes > this.#bytes.length) throw new RangeError(`more than ${this.#bytes.length} octets`)
    this.#offset = at + sizeBytes
    return at
  }
}
