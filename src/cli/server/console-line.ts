import type { StationInput } from '../../rtu/index.ts'

const FLAGS = ['overflow', 'blocked', 'substituted', 'notTopical', 'invalid'] as const

/** What a line on stdin asks for. */
export type ConsoleOrder =
  | { readonly kind: 'set'; readonly input: StationInput }
  | { readonly kind: 'status' }
  | { readonly kind: 'quit' }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'bad'; readonly problem: string }

/** `set CA IOA VALUE [FLAG...] [transient]`, `status`, `quit`; empty lines and `#` comments are nothing. */
export function readConsoleLine(line: string): ConsoleOrder {
  const [word = '', ...args] = line.trim().split(/\s+/)
  if (word === '' || word.startsWith('#')) return { kind: 'nothing' }
  if (word === 'status' && args.length === 0) return { kind: 'status' }
  if ((word === 'quit' || word === 'exit') && args.length === 0) return { kind: 'quit' }
  if (word !== 'set') return { kind: 'bad', problem: `'${word}' is not set, status or quit` }
  const [caText = '', ioaText = '', valueText = '', ...flags] = args
  const [ca, ioa] = [Number(caText), Number(ioaText)]
  const value = VALUES.get(valueText) ?? Number(valueText)
  const unknown = flags.find((flag) => flag !== 'transient' && !FLAGS.some((known) => known === flag))
  if (!/^\d+$/.test(caText) || !/^\d+$/.test(ioaText) || valueText === '' || !Number.isFinite(value)) {
    return { kind: 'bad', problem: 'expected set CA IOA VALUE [FLAG...]' }
  }
  if (unknown !== undefined) return { kind: 'bad', problem: `'${unknown}' is not ${FLAGS.join(', ')} or transient` }
  const quality = Object.fromEntries(FLAGS.filter((flag) => flags.includes(flag)).map((flag) => [flag, true]))
  return { kind: 'set', input: { kind: 'setPoint', ca, ioa, value, quality, transient: flags.includes('transient') } }
}

const VALUES: ReadonlyMap<string, number> = new Map([
  ['on', 1],
  ['off', 0],
  ['true', 1],
  ['false', 0],
])
