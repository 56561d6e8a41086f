/** A stream of pseudo-random numbers: the same on every machine for the same seed and name. */
export interface Random {
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number
  /** Standard normal. */
  normal(): number
  /** Exponential with the given mean. */
  exponential(mean: number): number
  /** Poisson with the given mean; its cost grows with the mean. */
  poisson(mean: number): number
  /** Independent uniform octets. Not for keys that protect anything. */
  bytes(sizeBytes: number): Uint8Array
}

/**
 * Opens the random stream `name` of a run. Streams of different names are independent, so that a draw more for one link
 * or task leaves all the others as they were.
 * @param seed whole number from 0 to 2^53 - 1
 * @throws RangeError for another seed
 */
export function randomStream(seed: number, name: string): Random {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RangeError(`seed must be a whole number below 2^53, not ${seed}`)
  return new Sfc32(seed, name)
}

/** Largest mean whose e^-mean is far from underflow; a sum of Poissons is Poisson, so larger means go in pieces. */
const POISSON_PIECE = 500

/** Chris Doty-Humphrey's sfc32 (PractRand): 128 bits of state, a counter among them, so that no cycle is short. */
class Sfc32 implements Random {
  #a: number
  #b: number
  #c: number
  #counter = 1
  #spareNormal: number | undefined

  constructor(seed: number, name: string) {
    this.#a = mix(seed >>> 0)
    this.#b = mix(Math.floor(seed / 2 ** 32) ^ this.#a)
    this.#c = mix(fnv1a(name) ^ this.#b)
    for (let i = 0; i < 15; i++) this.#next()
  }

  uniform(): number {
    const high = this.#next() >>> 5
    const low = this.#next() >>> 6
    return (high * 2 ** 26 + low) / 2 ** 53
  }

  /** Marsaglia's polar method: needs no trigonometry, whose last digit differs between machines. */
  normal(): number {
    if (this.#spareNormal !== undefined) {
      const spare = this.#spareNormal
      this.#spareNormal = undefined
      return spare
    }
    for (;;) {
      const x = 2 * this.uniform() - 1
      const y = 2 * this.uniform() - 1
      const square = x * x + y * y
      if (square === 0 || square >= 1) continue
      const scale = Math.sqrt((-2 * Math.log(square)) / square)
      this.#spareNormal = y * scale
      return x * scale
    }
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.uniform())
  }

  poisson(mean: number): number {
    let count = 0
    for (let leftMean = mean; leftMean > 0; leftMean -= POISSON_PIECE) {
      const limit = Math.exp(-Math.min(leftMean, POISSON_PIECE))
      for (let product = this.uniform(); product > limit; product *= this.uniform()) count++
    }
    return count
  }

  bytes(sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes)
    for (let i = 0; i < sizeBytes; i += 4) {
      let word = this.#next()
      for (let k = i; k < Math.min(i + 4, sizeBytes); k++) {
        bytes[k] = word & 0xff
        word >>>= 8
      }
    }
    return bytes
  }

  #next(): number {
    const result = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + result
    return result >>> 0
  }
}

/** FNV-1a, 32 bits, over the UTF-16 code units of the text, low octet first. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193)
  }
  return hash >>> 0
}

/** The finaliser of MurmurHash3 on top of a Weyl step (splitmix32): seeds that differ in one bit give unlike states. */
function mix(value: number): number {
  let z = (value + 0x9e3779b9) | 0
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
  return (z ^ (z >>> 16)) >>> 0
}
