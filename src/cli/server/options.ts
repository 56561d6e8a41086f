import type { StationConfig } from '../../rtu/index.ts'
import type { TlsOptions } from '../../runtime/index.ts'
import { CliError } from '../errors.ts'
import { parseChoice, parseCount, parseDurationS, parseOptions } from '../options.ts'

const PORT = 2404
/** IEC 62351-3 and IEC 60870-5-104 over TLS. */
const SECURE_PORT = 19_998

const OPTIONS = {
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string' },
  points: { type: 'string' },
  ca: { type: 'string', default: '1' },
  redundancy: { type: 'string' },
  announce: { type: 'boolean', default: false },
  k: { type: 'string' },
  w: { type: 'string' },
  t1: { type: 'string' },
  t2: { type: 'string' },
  t3: { type: 'string' },
  'tls-ca': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'tls-crl': { type: 'string' },
  'tls-min': { type: 'string' },
  'tls-name': { type: 'string', multiple: true },
  simulate: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

export type ServerOptions = {
  readonly host: string
  readonly port: number
  readonly pointFile: string | undefined
  readonly cas: readonly number[]
  /** What of the station the command line says. */
  readonly station: Pick<StationConfig, 'apci' | 'redundancy' | 'announceStart'>
  readonly tls: TlsOptions | undefined
  readonly simulate: boolean
  readonly json: boolean
}

/** Reads the command line of `q104 server`. @throws CliError */
export function parseServerOptions(args: readonly string[]): ServerOptions {
  const { values, positionals } = parseOptions(args, OPTIONS)
  if (positionals.length > 0) throw new CliError(`found '${positionals.join(' ')}', expected options only`)
  const tls = tlsOptions(values)
  const seconds = (name: 't1' | 't2' | 't3'): number | undefined =>
    values[name] === undefined ? undefined : parseDurationS(values[name], `--${name}`) * 1000
  const apci = {
    k: values.k === undefined ? 12 : windowOf(values.k, '--k'),
    w: values.w === undefined ? 8 : windowOf(values.w, '--w'),
    t1Ms: seconds('t1') ?? 15_000,
    t2Ms: seconds('t2') ?? 10_000,
    t3Ms: seconds('t3') ?? 20_000,
  }
  if (apci.t2Ms >= apci.t1Ms) throw new CliError(`--t2: found ${apci.t2Ms} ms, expected less than t1 ${apci.t1Ms} ms`)
  const redundancy =
    values.redundancy === undefined ? undefined : parseChoice(values.redundancy, ['one', 'connection'], '--redundancy')
  return {
    host: values.host,
    port: values.port === undefined ? (tls === undefined ? PORT : SECURE_PORT) : portOf(values.port),
    pointFile: values.points,
    cas: values.ca.split(',').map(caOf),
    station: {
      apci,
      ...(redundancy !== undefined && { redundancy: { kind: redundancy === 'one' ? 'one' : 'perConnection' } }),
      ...(values.announce && { announceStart: true }),
    },
    tls,
    simulate: values.simulate,
    json: values.json,
  }
}

function tlsOptions(values: Readonly<Record<string, unknown>>): TlsOptions | undefined {
  const text = (name: string): string | undefined => {
    const value = values[name]
    return typeof value === 'string' ? value : undefined
  }
  const [caFile, certFile, keyFile] = [text('tls-ca'), text('tls-cert'), text('tls-key')]
  const names = values['tls-name']
  const more = ['tls-crl', 'tls-min', 'tls-name'].filter((name) => values[name] !== undefined)
  if (caFile === undefined && certFile === undefined && keyFile === undefined && more.length === 0) return undefined
  if (caFile === undefined || certFile === undefined || keyFile === undefined) {
    throw new CliError('TLS needs --tls-ca, --tls-cert and --tls-key, all three')
  }
  const min = text('tls-min')
  const crlFile = text('tls-crl')
  return {
    caFile,
    certFile,
    keyFile,
    ...(crlFile !== undefined && { crlFile }),
    ...(min !== undefined && {
      minVersion: parseChoice(min, ['1.2', '1.3'], '--tls-min') === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
    }),
    ...(Array.isArray(names) && { peerNames: names.map(String) }),
  }
}

function windowOf(text: string, option: string): number {
  const size = parseCount(text, option)
  if (size < 1 || size > 32_767) throw new CliError(`${option}: found ${size}, expected 1..32767`)
  return size
}

function portOf(text: string): number {
  const port = parseCount(text, '--port')
  if (port > 65_535) throw new CliError(`--port: found ${port}, expected 0..65535`)
  return port
}

function caOf(text: string): number {
  const ca = parseCount(text.trim(), '--ca')
  if (ca < 1 || ca > 65_534) throw new CliError(`--ca: found ${ca}, expected 1..65534`)
  return ca
}
