import { readFile } from 'node:fs/promises'
import { isNode, isPair, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { CliError } from '../errors.ts'

const MAX_PROBLEMS = 20

/** Reads a YAML file against a schema. @throws CliError with every problem, each `file:line:col: path: message`. */
export async function loadYaml<T>(file: string, schema: z.ZodType<T>): Promise<T> {
  const text = await read(file)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${Math.max(1, line)}:${Math.max(1, col)}`
  }
  if (document.errors.length > 0) {
    throw new CliError(document.errors.map(({ pos, message }) => `${at(pos[0])}: not YAML: ${message}`).join('\n'))
  }
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 100 }))
  if (parsed.success) return parsed.data
  /** Where the value at a path stands, or (with a key) that key in it, or what is around it. */
  const offsetOf = (path: readonly PropertyKey[], key?: string): number => {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
      if (!isNode(node)) continue
      const pair = 'items' in node ? node.items.find((item) => isPair(item) && String(item.key) === key) : undefined
      if (length === path.length && isPair(pair) && isNode(pair.key)) return pair.key.range?.[0] ?? 0
      return node.range?.[0] ?? 0
    }
    return 0
  }
  const problems = parsed.error.issues.flatMap((issue) => {
    const where = issue.path.map(String).join('.') || 'file'
    if (issue.code !== 'unrecognized_keys') return [`${at(offsetOf(issue.path))}: ${where}: ${issue.message}`]
    return issue.keys.map((key) => `${at(offsetOf(issue.path, key))}: ${where}: there is no key '${key}' here`)
  })
  throw new CliError(problems.slice(0, MAX_PROBLEMS).join('\n'))
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw new CliError(`${file}: cannot be read (${error.code})`)
    throw error
  }
}
