/** A point file as text: YAML or CSV to raw rows, each knowing its line. */
import { isMap, isNode, isSeq, LineCounter, parseDocument } from 'yaml'
import { COLUMNS, type Part, ROWS } from './point-rows.ts'

export type RawRow = {
  readonly part: Part
  readonly value: unknown
  /** Line of the row, or of the field in it. */
  readonly lineOf: (field?: PropertyKey) => number
}

export type RawPointFile = {
  readonly rows: readonly RawRow[]
  readonly settings: { readonly [key: string]: unknown }
  readonly settingLine: (key: PropertyKey | undefined) => number
  readonly problems: readonly LineProblem[]
}

export type LineProblem = { readonly line: number; readonly message: string }

const PARTS = Object.keys(ROWS) as Part[]
const PART_BY_OBJECT: Readonly<Record<string, Part>> = { point: 'points', command: 'commands', file: 'files' }

/** A mapping with lists `points`, `commands` and `files`, and settings of the station. */
export function readYaml(text: string): RawPointFile {
  const lines = new LineCounter()
  const problems: LineProblem[] = []
  const lineAt = (node: unknown): number => (isNode(node) && node.range ? lines.linePos(node.range[0]).line : 1)
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  for (const { pos, message } of document.errors) {
    problems.push({ line: lines.linePos(pos[0]).line, message: `not YAML: ${message}` })
  }
  const { contents } = document
  const none = { rows: [], settings: {}, settingLine: () => 1, problems }
  if (problems.length > 0) return none
  if (!isMap(contents)) {
    problems.push({ line: 1, message: 'expected a mapping with points, commands or files' })
    return none
  }
  const rows: RawRow[] = []
  const settings: Record<string, unknown> = {}
  const settingLines = new Map<PropertyKey, number>()
  for (const { key, value } of contents.items) {
    const keyText = String(key)
    const part = PARTS.find((known) => known === keyText)
    settingLines.set(keyText, lineAt(key))
    try {
      if (part === undefined) settings[keyText] = isNode(value) ? value.toJS(document, { maxAliasCount: 100 }) : value
      else if (!isSeq(value)) problems.push({ line: lineAt(key), message: `${part}: expected a list` })
      else {
        for (const item of value.items) {
          const fields = isMap(item) ? item.items : []
          rows.push({
            part,
            value: isNode(item) ? item.toJS(document, { maxAliasCount: 100 }) : item,
            lineOf: (field) => lineAt(fields.find((pair) => String(pair.key) === field)?.key ?? item),
          })
        }
      }
    } catch (error) {
      // What the yaml package throws for an alias that would expand without bound.
      if (!(error instanceof ReferenceError)) throw error
      problems.push({ line: lineAt(key), message: `not YAML: ${error.message}` })
    }
  }
  return { rows, settings, settingLine: (key) => settingLines.get(key ?? '') ?? 1, problems }
}

/** A line of column names, then a row a line; column `object` says point (default), command or file. `#` begins a comment. */
export function readCsv(text: string): RawPointFile {
  const problems: LineProblem[] = []
  const rows: RawRow[] = []
  let columns: readonly string[] | undefined
  for (const [i, content] of text.split(/\r?\n/).entries()) {
    const line = i + 1
    if (content.trim() === '' || content.trimStart().startsWith('#')) continue
    const cells = cellsOf(content)
    if (cells === undefined) problems.push({ line, message: 'a quote is not closed' })
    else if (columns === undefined) {
      columns = cells
      const unknown = cells.filter((column) => column !== 'object' && !COLUMNS.has(column))
      if (unknown.length > 0) {
        const known = ['object', ...COLUMNS.keys()].join(', ')
        problems.push({ line, message: `unknown column ${unknown.join(', ')}; columns: ${known}` })
      }
    } else if (cells.length > columns.length) {
      problems.push({ line, message: `found ${cells.length} cells, expected at most ${columns.length}` })
    } else {
      const row = rowOf(columns, cells, line, problems)
      if (row !== undefined) rows.push(row)
    }
  }
  return { rows, settings: {}, settingLine: () => 1, problems }
}

function rowOf(
  columns: readonly string[],
  cells: readonly string[],
  line: number,
  problems: LineProblem[],
): RawRow | undefined {
  const value: Record<string, unknown> = {}
  let part: Part | undefined = 'points'
  for (const [i, column] of columns.entries()) {
    const cell = cells[i] ?? ''
    if (cell === '') continue
    if (column === 'object') part = PART_BY_OBJECT[cell]
    else value[column] = typed(column, cell)
  }
  if (part === undefined) {
    problems.push({ line, message: 'object: expected point, command or file' })
    return undefined
  }
  return { part, value, lineOf: () => line }
}

/** What is no number or truth value stays text, so that the check of the row says what is wrong with it. */
function typed(column: string, cell: string): unknown {
  const kind = COLUMNS.get(column)
  if (kind === 'number' && Number.isFinite(Number(cell))) return Number(cell)
  if (kind === 'boolean' && /^(true|false|yes|no|1|0)$/i.test(cell)) return /^(true|yes|1)$/i.test(cell)
  return kind === 'flags' ? cell.split(/\s+/) : cell
}

/** Cells of a line, by comma or semicolon whichever comes first; quoted ones may hold both, and `""` for a quote. */
function cellsOf(line: string): string[] | undefined {
  const separator = /[,;]/.exec(line)?.[0] ?? ','
  const cells: string[] = []
  let rest = line
  for (;;) {
    const quoted = /^\s*"((?:[^"]|"")*)"\s*/.exec(rest)
    if (quoted === null && /^\s*"/.test(rest)) return undefined
    const end = quoted === null ? rest.indexOf(separator) : quoted[0].length
    const raw = end < 0 ? rest : rest.slice(0, end)
    cells.push(quoted === null ? raw.trim() : (quoted[1] ?? '').replaceAll('""', '"'))
    rest = end < 0 ? '' : rest.slice(end)
    if (!rest.startsWith(separator)) return rest.trim() === '' ? cells : undefined
    rest = rest.slice(1)
  }
}
