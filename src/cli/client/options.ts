import { CONTROLLING_STATION_DEFAULTS, type ControllingStationOptions } from '../../master/index.ts'
import type { DialOptions, TlsOptions } from '../../runtime/index.ts'
import { CliError } from '../errors.ts'
import { parseDurationS } from '../options.ts'
import { type ClientStep, takeStep } from './steps.ts'
import { parseNumber, Words } from './words.ts'

const OPTIONS = {
  ca: 'value',
  oa: 'value',
  k: 'value',
  w: 'value',
  t0: 'value',
  t1: 'value',
  t2: 'value',
  t3: 'value',
  timeout: 'value',
  json: 'flag',
  quiet: 'flag',
  reconnect: 'flag',
  'tls-ca': 'value',
  'tls-cert': 'value',
  'tls-key': 'value',
  'tls-crl': 'value',
  'tls-min': 'value',
  'tls-name': 'value',
} as const

/** Ports of IEC 60870-5-104 and of its secure version, as IANA has assigned them. */
const PORT = 2404
const SECURE_PORT = 19_998

export type ClientArguments = {
  readonly dial: DialOptions
  readonly station: ControllingStationOptions
  readonly ca: number
  readonly json: boolean
  /** Only results are told, not the data. */
  readonly quiet: boolean
  readonly steps: readonly ClientStep[]
}

/**
 * Reads the arguments: HOST[:PORT], options anywhere, operations in order. `--ca` before the first operation is for all
 * of them, after one for that one. CliError for what makes no sense.
 */
export function parseArguments(args: readonly string[]): ClientArguments {
  const words = new Words(args)
  const options = words.takeOptions(OPTIONS)
  const target = words.take('HOST:PORT')
  if (target.startsWith('--')) throw unknownOption(target)
  for (const [name, value] of words.takeOptions(OPTIONS)) options.set(name, value)
  const ca = parseNumber(options.get('ca') ?? '1', '--ca', 0xffff)
  const steps: ClientStep[] = []
  while (!words.isEmpty) {
    if (words.rest[0]?.startsWith('--') === true) throw unknownOption(words.rest[0])
    steps.push(takeStep(words, ca))
    for (const [name, value] of words.takeOptions(OPTIONS)) options.set(name, value)
  }
  return {
    dial: dialOptions(target, options),
    station: stationOptions(options),
    ca,
    json: options.has('json'),
    quiet: options.has('quiet'),
    steps: steps.length > 0 ? steps : defaultSteps(ca),
  }
}

function unknownOption(word: string): CliError {
  return new CliError(
    `there is no option ${word} here; options: ${Object.keys(OPTIONS)
      .map((name) => `--${name}`)
      .join(', ')}`,
  )
}

/** What a station has, and what it tells of then. */
function defaultSteps(ca: number): readonly ClientStep[] {
  return [
    { kind: 'operate', label: 'gi', operation: { kind: 'interrogation', ca, group: 0 } },
    { kind: 'monitor', label: 'monitor', durationMs: undefined },
  ]
}

type Given = ReadonlyMap<string, string>

function dialOptions(target: string, options: Given): DialOptions {
  const tls = tlsOptions(options)
  const [, bracketed, plain, portText] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(target) ?? []
  const host = bracketed ?? plain
  if (host === undefined) throw new CliError(`found '${target}', expected HOST:PORT or [IPV6]:PORT`)
  const port = portText === undefined ? (tls === undefined ? PORT : SECURE_PORT) : parseNumber(portText, 'PORT', 65_535)
  const t0 = options.get('t0')
  return {
    host,
    port,
    ...(tls !== undefined && { tls }),
    ...(t0 !== undefined && { t0Ms: parseDurationS(t0, '--t0') * 1000 }),
    ...(options.has('reconnect') && { retry: { minMs: 500, maxMs: 10_000 } }),
  }
}

function tlsOptions(options: Given): TlsOptions | undefined {
  const given = Object.keys(OPTIONS).filter((name) => name.startsWith('tls') && options.has(name))
  if (given.length === 0) return undefined
  const file = (name: string): string => {
    const path = options.get(name)
    if (path === undefined) throw new CliError(`--${given[0]} needs --${name}, too`)
    return path
  }
  const min = options.get('tls-min')
  if (min !== undefined && min !== '1.2' && min !== '1.3') {
    throw new CliError(`--tls-min: found '${min}', expected 1.2 or 1.3`)
  }
  const name = options.get('tls-name')
  const crlFile = options.get('tls-crl')
  return {
    caFile: file('tls-ca'),
    certFile: file('tls-cert'),
    keyFile: file('tls-key'),
    ...(crlFile !== undefined && { crlFile }),
    ...(min !== undefined && { minVersion: `TLSv${min}` as const }),
    ...(name !== undefined && { peerNames: [name] }),
  }
}

function stationOptions(options: Given): ControllingStationOptions {
  const { apci } = CONTROLLING_STATION_DEFAULTS
  const windowOf = (name: 'k' | 'w'): number => {
    const size = parseNumber(options.get(name) ?? `${apci[name]}`, `--${name}`, 32_767)
    if (size === 0) throw new CliError(`--${name}: found 0, expected 1..32767`)
    return size
  }
  const timeOf = (name: 't1' | 't2' | 't3', defaultMs: number): number => {
    const text = options.get(name)
    return text === undefined ? defaultMs : parseDurationS(text, `--${name}`) * 1000
  }
  const t1Ms = timeOf('t1', apci.t1Ms)
  // t2 is always below t1.
  const t2Ms = timeOf('t2', Math.min(apci.t2Ms, (t1Ms * 2) / 3))
  if (t2Ms >= t1Ms) throw new CliError(`--t2 ${t2Ms} ms is not below --t1 ${t1Ms} ms`)
  const timeout = options.get('timeout')
  return {
    ...CONTROLLING_STATION_DEFAULTS,
    apci: { k: windowOf('k'), w: windowOf('w'), t1Ms, t2Ms, t3Ms: timeOf('t3', apci.t3Ms) },
    oa: parseNumber(options.get('oa') ?? '0', '--oa', 255),
    ...(timeout !== undefined && { timeoutMs: parseDurationS(timeout, '--timeout') * 1000 }),
  }
}
