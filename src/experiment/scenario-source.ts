/** A YAML text with the place of every key and value, so that a problem can be reported with file, line and column. */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'

/** Where in the scenario something stands: keys and list indices from the root. */
export type Path = readonly (string | number)[]

/** One thing that is wrong with a scenario. */
export type Problem = {
  readonly path: Path
  /** What is wrong, e.g. "too small". */
  readonly message: string
  readonly found: string
  readonly expected: string
  /** Points at the key rather than at its value. */
  readonly atKey?: boolean
  /** Where in the text, if the path does not tell: a key that stands twice. */
  readonly offset?: number
  /** Other values it rests on: where one of those is wrong itself, this problem is not told. */
  readonly because?: readonly Path[]
}

/** A scenario cannot be used. `problems` holds every one, each `file:line:col: path: message, found X, expected Y`. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError'
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

/** Longest text taken: far above any scenario written by hand or by a script, far below what would hurt. */
const MAX_TEXT_CHARS = 4_000_000

type Position = { readonly keyOffset: number; readonly valueOffset: number }

export class ScenarioSource {
  readonly #fileName: string
  readonly #lines = new LineCounter()
  readonly #positions = new Map<string, Position>()
  readonly #value: unknown
  readonly #duplicates: Problem[] = []

  /** @throws ScenarioError when the text is not YAML at all. */
  constructor(text: string, fileName: string) {
    this.#fileName = fileName
    if (text.length > MAX_TEXT_CHARS) {
      this.#fail(0, `too long, found ${text.length} characters, expected at most ${MAX_TEXT_CHARS}`)
    }
    try {
      const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, uniqueKeys: false })
      const lines = [...document.errors, ...document.warnings].map((e) =>
        this.#line(e.pos[0], `not YAML: ${oneLine(e.message)}`),
      )
      if (lines.length > 0) throw new ScenarioError(lines)
      this.#index(document.contents, [], 0)
      this.#value = document.toJS({ maxAliasCount: 1_000 })
    } catch (error) {
      if (error instanceof RangeError) this.#fail(0, 'not YAML: nested too deeply')
      // What the yaml package throws for an alias that would expand without bound.
      if (error instanceof ReferenceError) this.#fail(0, `not YAML: ${oneLine(error.message)}`)
      throw error
    }
  }

  get value(): unknown {
    return this.#value
  }

  /** Keys that stand twice in one mapping. */
  get duplicates(): readonly Problem[] {
    return this.#duplicates
  }

  /** The problem as one line. */
  report(problem: Problem): string {
    const { path, message, found, expected } = problem
    return this.#line(this.offsetOf(problem), `${pathText(path)}: ${message}, found ${found}, expected ${expected}`)
  }

  /** Offset of the value (or key) at the path, or of the nearest thing around it that exists. */
  offsetOf({ path, atKey, offset }: Problem): number {
    if (offset !== undefined) return offset
    for (let length = path.length; length > 0; length -= 1) {
      const position = this.#positions.get(pathText(path.slice(0, length)))
      if (position === undefined) continue
      return length === path.length && atKey !== true ? position.valueOffset : position.keyOffset
    }
    return 0
  }

  #index(node: unknown, path: Path, keyOffset: number): void {
    const valueOffset = (node as Node | null)?.range?.[0] ?? keyOffset
    this.#positions.set(pathText(path), { keyOffset, valueOffset })
    if (isSeq(node)) {
      for (const [index, item] of node.items.entries()) {
        const offset = (item as Node | null)?.range?.[0] ?? valueOffset
        this.#index(item, [...path, index], offset)
      }
    }
    if (!isMap(node)) return
    const lineOfKey = new Map<string, number>()
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key)
      const offset = (pair.key as Node | null)?.range?.[0] ?? valueOffset
      const at = [...path, key]
      const firstLine = lineOfKey.get(key)
      if (firstLine !== undefined) {
        const expected = `it once (first at line ${firstLine})`
        this.#duplicates.push({ path: at, message: 'duplicate key', found: `${quote(key)} again`, expected, offset })
        continue
      }
      lineOfKey.set(key, this.#lines.linePos(offset).line)
      this.#index(pair.value, at, offset)
    }
  }

  #line(offset: number, text: string): string {
    const { line, col } = this.#lines.linePos(offset)
    return `${this.#fileName}:${Math.max(1, line)}:${Math.max(1, col)}: ${text}`
  }

  #fail(offset: number, text: string): never {
    throw new ScenarioError([this.#line(offset, text)])
  }
}

/** `topology.links[0].lengthKm`; keys that are not plain words are quoted. */
export function pathText(path: Path): string {
  if (path.length === 0) return 'scenario'
  const parts = path.map((step) => {
    if (typeof step === 'number') return `[${step}]`
    return `.${/^[\w-]+$/.test(step) ? step : quote(step)}`
  })
  return parts.join('').replace(/^\./, '')
}

/** A value as a message shows it, short and on one line. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'an empty value'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object') return 'a mapping'
  return typeof value === 'string' ? quote(value) : String(value)
}

/** A string in single quotes, cut to a readable length, control characters escaped. */
export function quote(text: string): string {
  const cut = text.length > 60 ? `${text.slice(0, 57)}...` : text
  return `'${JSON.stringify(cut).slice(1, -1).replaceAll('\\"', '"')}'`
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ')
}
