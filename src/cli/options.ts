import { type ParseArgsConfig, parseArgs } from 'node:util'
import { CliError } from './errors.ts'

/** `parseArgs`, strict, with our kind of error. */
export function parseOptions<T extends NonNullable<ParseArgsConfig['options']>>(args: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(error.message)
    throw error
  }
}

/** The single positional argument that a command takes. */
export function onePositional(positionals: readonly string[], what: string): string {
  const [value, ...more] = positionals
  if (value === undefined) throw new CliError(`${what} is needed, found nothing`)
  if (more.length > 0) throw new CliError(`one ${what} is expected, found also: ${more.join(' ')}`)
  return value
}

/** A duration such as `30s`, `1.5min`, `500ms` or `2h`, in seconds. */
export function parseDurationS(text: string, option: string): number {
  const unitS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, min: 60, m: 60, h: 3600, '': 1 }
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|min|m|h)?$/.exec(text) ?? []
  const seconds = Number(number) * (unitS[unit] ?? Number.NaN)
  if (number === '' || !(seconds > 0))
    throw new CliError(`${option}: found '${text}', expected a duration such as 30s, 1.5min or 500ms`)
  return seconds
}

/** A non-negative integer option. */
export function parseCount(text: string, option: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new CliError(`${option}: found '${text}', expected a whole number`)
  return Number(text)
}

/** A port to listen on; 0 for any that is free. */
export function parsePort(text: string, option: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (port <= 65_535) return port
  throw new CliError(`${option}: found '${text}', expected a port from 0 to 65535`)
}

/** One of a closed list. */
export function parseChoice<T extends string>(text: string, choices: readonly T[], option: string): T {
  const found = choices.find((choice) => choice === text)
  if (found === undefined) throw new CliError(`${option}: found '${text}', expected one of ${choices.join(', ')}`)
  return found
}

/** An amount of key such as `14kbit` or `1Mbit`, in bits: 32 bit to 100 Gbit. */
export function parseBits(text: string, option: string): number {
  const units: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6 }
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)(bit|kbit|mbit)$/i.exec(text) ?? []
  const bits = Math.round(Number(number) * (units[unit.toLowerCase()] ?? Number.NaN))
  if (number !== '' && bits >= 32 && bits <= 1e11) return bits
  throw new CliError(`${option}: found '${text}', expected at least 32 bits, such as 14kbit or 1Mbit`)
}

/** An address to listen on, `HOST:PORT`; an IPv6 host stands in brackets. */
export function parseListen(text: string, option: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits = ''] = /^(?:\[([^\]\s]+)\]|([^\s:]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain ?? ''
  const port = Number(digits)
  if (host === '' || port > 65_535) throw new CliError(`${option}: found '${text}', expected HOST:PORT`)
  return { host, port }
}
