import type { CalibrationScores } from './banded.ts'
import { REGIMES } from './banded.ts'
import { OUTPUTS } from './basis.ts'
import { type Network, parameterCount } from './lstm.ts'
import type { NoveltyLimits } from './novelty.ts'
import { HORIZONS } from './stock-model.ts'
import { type BasisKind, inputsOf } from './training.ts'

/** Format of the file; another number is refused. */
export const WEIGHTS_VERSION = 1
const FORMAT = 'q104 forecast weights'
/** Files are far smaller; what is larger is not looked at. */
const MAX_UNITS = 256
const MAX_SCORES = 1_000

/** What training was done with: scenario, traces, seeds, network. Plain values, so that a hash of it says whether it changed. */
export type TrainingConfig = { readonly [name: string]: string | number }

export type ForecastWeights = {
  readonly seed: number
  readonly config: TrainingConfig
  /** The network on the Kalman core's residual, and the one that stands alone. */
  readonly residual: Network
  readonly alone: Network
  /** Scores from calibration: of the Kalman core with the network (variant 0) and without it (variant 1), and of the LSTM alone. */
  readonly scores: CalibrationScores
  readonly aloneScores: CalibrationScores
  readonly novelty: NoveltyLimits
}

/** A weights file that cannot be used: which file, what was found and what was expected. */
export class WeightsError extends Error {
  override readonly name = 'WeightsError'
}

/** The file's text: JSON, the parameters as base64 of little-endian float32. Same weights, same octets. */
export function formatWeights(weights: ForecastWeights): string {
  const { seed, config, residual, alone, scores, aloneScores, novelty } = weights
  const body = {
    format: FORMAT,
    version: WEIGHTS_VERSION,
    seed,
    configHash: hashOf(JSON.stringify(config)),
    config,
    residual: networkText(residual),
    alone: networkText(alone),
    scores,
    aloneScores,
    novelty,
  }
  return `${JSON.stringify({ ...body, checksum: hashOf(JSON.stringify(body)) })}\n`
}

function networkText({ inputs, units, outputs, parameters }: Network) {
  return { inputs, units, outputs, parameters: toBase64(parameters) }
}

/**
 * Takes weights from a file's text. Checks format, version, shapes, numbers, the hash of the training configuration and the
 * checksum over all.
 * @param name of the file, for errors
 * @throws WeightsError
 */
export function parseWeights(text: string, name: string): ForecastWeights {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new WeightsError(`${name}: not JSON; expected forecast weights written by q104 train`)
  }
  const file = new Reader(name, '', value)
  file.is('format', FORMAT)
  file.is('version', WEIGHTS_VERSION)
  const config = configOf(file.child('config'))
  file.is('configHash', hashOf(JSON.stringify(config)))
  const weights: ForecastWeights = {
    seed: file.number('seed'),
    config,
    residual: networkFrom(file.child('residual'), 'kalman'),
    alone: networkFrom(file.child('alone'), 'raw'),
    scores: scoresFrom(file.child('scores'), 2),
    aloneScores: scoresFrom(file.child('aloneScores'), 1),
    novelty: noveltyFrom(file.child('novelty')),
  }
  const { checksum: _sum, ...body } = file.value as Record<string, unknown>
  file.is('checksum', hashOf(JSON.stringify(body)))
  return weights
}

/** A value of the file with its place, so that errors can name it. */
class Reader {
  readonly name: string
  readonly place: string
  readonly value: unknown

  constructor(name: string, place: string, value: unknown) {
    this.name = name
    this.place = place
    this.value = value
  }

  fail(found: string, expected: string): never {
    throw new WeightsError(`${this.name}: ${this.place || 'the file'} is ${found}; expected ${expected}`)
  }

  child(key: string | number): Reader {
    const place = this.place === '' ? String(key) : `${this.place}.${key}`
    if (typeof this.value !== 'object' || this.value === null) this.fail(shown(this.value), 'an object')
    const found = Object.hasOwn(this.value, key) ? (this.value as Record<string | number, unknown>)[key] : undefined
    return new Reader(this.name, place, found)
  }

  is(key: string, expected: string | number): void {
    const child: Reader = this.child(key)
    if (child.value !== expected) child.fail(shown(child.value), String(expected))
  }

  number(key: string | number): number {
    const child: Reader = this.child(key)
    if (typeof child.value !== 'number' || !Number.isFinite(child.value)) child.fail(shown(child.value), 'a number')
    return child.value
  }

  /** Its elements. */
  list(length: number | undefined, limit = length ?? MAX_SCORES): readonly Reader[] {
    const { value } = this
    if (!Array.isArray(value)) this.fail(shown(value), 'a list')
    if (length !== undefined && value.length !== length) this.fail(`a list of ${value.length}`, `a list of ${length}`)
    if (value.length > limit) this.fail(`a list of ${value.length}`, `at most ${limit} elements`)
    return value.map((element: unknown, i) => new Reader(this.name, `${this.place}[${i}]`, element))
  }

  numbers(length?: number): readonly number[] {
    return this.list(length).map((element: Reader): number => {
      if (typeof element.value !== 'number' || !Number.isFinite(element.value))
        element.fail(shown(element.value), 'a number')
      return element.value
    })
  }
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing'
  return typeof value === 'string' ? `'${value.slice(0, 40)}'` : String(JSON.stringify(value)).slice(0, 40)
}

function configOf(file: Reader): TrainingConfig {
  const { value } = file
  if (typeof value !== 'object' || value === null || Array.isArray(value)) file.fail(shown(value), 'an object')
  const config: Record<string, string | number> = {}
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== 'string' && typeof entry !== 'number') file.child(key).fail(shown(entry), 'text or a number')
    config[key] = entry
  }
  return config
}

function networkFrom(file: Reader, kind: BasisKind): Network {
  const inputs = inputsOf(kind)
  file.is('inputs', inputs)
  file.is('outputs', OUTPUTS)
  const units = file.number('units')
  if (!Number.isInteger(units) || units < 1 || units > MAX_UNITS)
    file.child('units').fail(`${units}`, `a whole number from 1 to ${MAX_UNITS}`)
  const text: Reader = file.child('parameters')
  const count = parameterCount(inputs, units, OUTPUTS)
  const length = 4 * Math.ceil((4 * count) / 3)
  if (typeof text.value !== 'string' || text.value.length !== length)
    text.fail(
      `text of ${typeof text.value === 'string' ? text.value.length : 0} characters`,
      `${length}, for ${count} numbers`,
    )
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text.value)) text.fail('not base64', 'base64')
  const parameters = fromBase64(text.value, count)
  if (!parameters.every(Number.isFinite)) text.fail('not all finite', 'finite numbers')
  return { inputs, units, outputs: OUTPUTS, parameters }
}

function scoresFrom(file: Reader, variants: number): CalibrationScores {
  return file
    .list(variants)
    .map((variant) =>
      variant.list(REGIMES.length).map((regime) => regime.list(HORIZONS.length).map((horizon) => horizon.numbers())),
    )
}

function noveltyFrom(file: Reader): NoveltyLimits {
  const positive = (key: string): number => {
    const value = file.number(key)
    if (!(value > 0)) file.child(key).fail(`${value}`, 'a positive number')
    return value
  }
  return {
    demandInnovation: positive('demandInnovation'),
    outside: positive('outside'),
    regret: positive('regret'),
    low: file.child('low').numbers(inputsOf('kalman')),
    high: file.child('high').numbers(inputsOf('kalman')),
  }
}

function toBase64(parameters: Float32Array | Float64Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * parameters.length))
  parameters.forEach((value: number, i: number) => void bytes.setFloat32(4 * i, value, true))
  let text = ''
  for (let i = 0; i < bytes.byteLength; i++) text += String.fromCharCode(bytes.getUint8(i))
  return btoa(text)
}

function fromBase64(text: string, count: number): Float32Array {
  const octets = atob(text)
  const bytes = new DataView(new ArrayBuffer(4 * count))
  for (let i = 0; i < bytes.byteLength; i++) bytes.setUint8(i, octets.charCodeAt(i))
  return Float32Array.from({ length: count }, (_, i) => bytes.getFloat32(4 * i, true))
}

/** 64 bits over a text in hexadecimal, two lanes of FNV-1a over its UTF-16 units: against mistakes, not against attackers. */
export function hashOf(text: string): string {
  let [a, b] = [0x811c9dc5, 0xcbf29ce4]
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x01000193)
    b = Math.imul(b ^ ((unit << 8) | (i & 0xff)), 0x01000193)
  }
  return (a >>> 0).toString(16).padStart(8, '0') + (b >>> 0).toString(16).padStart(8, '0')
}
