import { CliError } from '../errors.ts'

/** Options by name: `flag` takes no value, `value` takes one. */
export type OptionSpec = { readonly [name: string]: 'flag' | 'value' }

/** The words of a command line, taken from the left. */
export class Words {
  readonly #words: string[]

  constructor(words: readonly string[]) {
    this.#words = [...words]
  }

  get isEmpty(): boolean {
    return this.#words.length === 0
  }

  /** The words not taken yet. */
  get rest(): readonly string[] {
    return [...this.#words]
  }

  /** The next word, which must be there: `what` says what it is. */
  take(what: string): string {
    const word = this.#words.shift()
    if (word === undefined) throw new CliError(`${what} is needed, found nothing`)
    return word
  }

  /** The next word if it fits, else undefined and nothing is taken. */
  takeIf(pattern: RegExp): string | undefined {
    const [word] = this.#words
    return word !== undefined && pattern.test(word) ? this.#words.shift() : undefined
  }

  /** One or two numbers: `IOA`, or `CA IOA`. */
  takeAddress(what: string, ca: number): { readonly ca: number; readonly ioa: number } {
    const first = parseNumber(this.take(`the IOA of ${what}`), `${what} IOA`, 0xff_ffff)
    const second = this.takeIf(/^(?:\d+|0x[\da-f]+)$/i)
    if (second === undefined) return { ca, ioa: first }
    if (first > 0xffff) throw new CliError(`${what} CA: found ${first}, expected 0..65535`)
    return { ca: first, ioa: parseNumber(second, `${what} IOA`, 0xff_ffff) }
  }

  /** The options at the front that `spec` knows; `--name=value` is the same as `--name value`. */
  takeOptions(spec: OptionSpec): Map<string, string> {
    const options = new Map<string, string>()
    for (;;) {
      const [, name = '', value] = /^--([a-z0-9-]+)(?:=(.*))?$/s.exec(this.#words[0] ?? '') ?? []
      const kind = Object.hasOwn(spec, name) ? spec[name] : undefined
      if (kind === undefined) return options
      this.#words.shift()
      if (kind === 'flag' && value !== undefined) throw new CliError(`--${name} takes no value`)
      options.set(name, kind === 'flag' ? '' : (value ?? this.take(`the value of --${name}`)))
    }
  }
}

/** A number 0..`max`, decimal or 0x hexadecimal. */
export function parseNumber(text: string, what: string, max: number): number {
  const value = /^(?:\d{1,10}|0x[\da-f]{1,8})$/i.test(text) ? Number(text) : Number.NaN
  if (!(value <= max)) throw new CliError(`${what}: found '${text}', expected a whole number 0..${max}`)
  return value
}

/** Cuts a line into words: blanks part them, quotes hold them together, # begins a comment. */
export function wordsOf(line: string): string[] {
  const words: string[] = []
  for (const [match, double, single, plain] of line.matchAll(/"([^"]*)"|'([^']*)'|#.*|([^\s"'#]\S*)/g)) {
    if (match.startsWith('#')) break
    words.push(double ?? single ?? plain ?? '')
  }
  return words
}
