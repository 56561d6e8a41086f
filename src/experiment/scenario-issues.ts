/** What the schema found wrong, turned into problems, and a copy of the file mended enough to be checked further. */
import type { z } from 'zod'
import { scenarioJsonSchema } from './scenario-json.ts'
import { type Path, type Problem, quote, show } from './scenario-source.ts'

type Issue = z.core.$ZodIssue

/** A change that would make the file pass this check, so that the checks behind it can run too. */
type Mend =
  | { readonly kind: 'rename'; readonly path: Path; readonly from: string; readonly to: string }
  | { readonly kind: 'remove'; readonly path: Path }
  | { readonly kind: 'replace'; readonly path: Path; readonly value: unknown }

export type Finding = { readonly problem: Problem; readonly mend: Mend | undefined }

/** Problems of the schema's issues, those of unions taken from the branch that fits best. */
export function findingsOf(issues: readonly Issue[], value: unknown): readonly Finding[] {
  const flat = issues.flatMap((issue) => flatten(issue, []))
  const schema = scenarioJsonSchema()
  const findings = flat.flatMap((issue) => findingOf(issue, value, schema))
  // A misspelt key is one problem: that the right key is then missing need not be said.
  const renamed = new Set(
    findings.flatMap(({ mend }) => (mend?.kind === 'rename' ? [JSON.stringify([...mend.path, mend.to])] : [])),
  )
  return findings.filter(({ problem }) => !(problem.message === MISSING && renamed.has(JSON.stringify(problem.path))))
}

/** The value with every mend carried out, as a deep copy. */
export function mended(value: unknown, findings: readonly Finding[]): unknown {
  const copy = structuredClone(value)
  for (const { mend } of findings) {
    if (mend === undefined) continue
    const last = mend.path.at(-1)
    const parent = get(copy, mend.kind === 'rename' ? mend.path : mend.path.slice(0, -1))
    if (typeof parent !== 'object' || parent === null) continue
    const target = parent as Record<string | number, unknown>
    if (mend.kind === 'rename') {
      target[mend.to] = target[mend.from]
      delete target[mend.from]
    } else if (last !== undefined) {
      // An item taken out of a list would move its neighbours away from their places in the file, so it stays.
      if (mend.kind === 'replace') target[last] = mend.value
      else if (!Array.isArray(parent)) delete target[last]
    }
  }
  return copy
}

const MISSING = 'missing'
const PLACEHOLDERS: Readonly<Record<string, unknown>> = {
  object: {},
  array: [],
  int: 1,
  number: 1,
  string: 'missing',
  boolean: true,
}

function flatten(issue: Issue, prefix: Path): readonly Issue[] {
  const path = [...prefix, ...issue.path] as (string | number)[]
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch that got furthest into the value is the one the author meant.
    const depth = (branch: readonly Issue[]) => Math.max(...branch.map((inner) => inner.path.length))
    const best = [...issue.errors].sort((a, b) => depth(b) - depth(a))[0] ?? []
    if (depth(best) > 0) return best.flatMap((inner) => flatten(inner, path))
  }
  return [{ ...issue, path }]
}

function findingOf(issue: Issue, value: unknown, schema: SchemaNode): readonly Finding[] {
  const path = issue.path as (string | number)[]
  const raw = get(value, path)
  const found = show(raw)
  const remove: Mend = { kind: 'remove', path }
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey([...path, key], value, schema))
    case 'invalid_type': {
      const expected = article(issue.expected)
      if (raw !== undefined) return [{ problem: { path, message: 'wrong type', found, expected }, mend: remove }]
      const mend: Mend = { kind: 'replace', path, value: PLACEHOLDERS[issue.expected] }
      return [{ problem: { path, message: MISSING, found, expected }, mend }]
    }
    case 'too_small':
    case 'too_big': {
      const small = issue.code === 'too_small'
      const bound = Number(small ? issue.minimum : issue.maximum)
      const side = issue.inclusive === false ? (small ? 'more than' : 'less than') : small ? 'at least' : 'at most'
      const list = Array.isArray(raw)
      const message = list ? `too ${small ? 'few' : 'many'} items` : `too ${small ? 'small' : 'large'}`
      const foundHere = list ? String(raw.length) : found
      const inRange = issue.inclusive === false ? bound + (small ? 1 : -1) : bound
      const mend: Mend | undefined = typeof raw === 'number' ? { kind: 'replace', path, value: inRange } : undefined
      return [{ problem: { path, message, found: foundHere, expected: `${side} ${bound}` }, mend }]
    }
    case 'invalid_value':
      return [{ problem: { path, message: 'unknown choice', found, expected: choices(issue.values) }, mend: remove }]
    case 'invalid_union': {
      const options = 'options' in issue ? issue.options : undefined
      const expected = options === undefined ? alternatives(schemaAt(schema, path)) : choices(options)
      const mend: Mend = options === undefined ? remove : { kind: 'replace', path, value: options[0] }
      return [{ problem: { path, message: 'unknown choice', found, expected }, mend }]
    }
    case 'invalid_format':
      return [{ problem: { path, message: 'wrong form', found, expected: issue.message }, mend: remove }]
    default:
      return [{ problem: { path, message: 'not allowed', found, expected: issue.message }, mend: undefined }]
  }
}

function unknownKey(at: Path, value: unknown, schema: SchemaNode): Finding {
  const path = at.slice(0, -1)
  const key = String(at.at(-1))
  const known = keysOf(schemaAt(schema, path))
  const taken = get(value, path)
  const free = known.filter((name) => !(typeof taken === 'object' && taken !== null && Object.hasOwn(taken, name)))
  const near = nearest(key, free) ?? nearest(key, known)
  const problem = {
    path: at,
    message: 'unknown key',
    atKey: true,
    found: quote(key),
    expected: near === undefined ? `one of ${known.join(', ')}` : quote(near),
  }
  if (near !== undefined && free.includes(near)) {
    return { problem, mend: { kind: 'rename', path, from: key, to: near } }
  }
  return { problem, mend: { kind: 'remove', path: at } }
}

/** The candidate with the least edits, if it is near enough to have been meant. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const limit = Math.max(2, Math.floor(word.length / 3))
  const scored = candidates
    .map((candidate) => ({ candidate, edits: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ edits }) => edits <= limit)
    .sort((a, b) => a.edits - b.edits)
  return scored[0]?.candidate
}

function editDistance(a: string, b: string): number {
  // Bounded: a key of a megabyte is not a misspelling.
  if (Math.abs(a.length - b.length) > 32) return Number.POSITIVE_INFINITY
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

type SchemaNode = { readonly [key: string]: unknown }

/** The schema's nodes at a path: several where the value may be one of several kinds. */
function schemaAt(root: SchemaNode, path: Path): readonly SchemaNode[] {
  let nodes: SchemaNode[] = [root]
  const spread = (node: SchemaNode): SchemaNode[] => [
    ...((node['oneOf'] ?? node['anyOf'] ?? []) as SchemaNode[]).flatMap(spread),
    node,
  ]
  for (const step of path) {
    nodes = nodes.flatMap(spread).flatMap((node) => {
      const properties = node['properties'] as Record<string, SchemaNode> | undefined
      const next = typeof step === 'number' ? (node['items'] as SchemaNode | undefined) : properties?.[step]
      return next === undefined ? [] : [next]
    })
  }
  return nodes.flatMap(spread)
}

function keysOf(nodes: readonly SchemaNode[]): readonly string[] {
  return [...new Set(nodes.flatMap((node) => Object.keys((node['properties'] ?? {}) as object)))]
}

function alternatives(nodes: readonly SchemaNode[]): string {
  const kinds = nodes.flatMap((node) =>
    node['const'] === undefined ? (node['type'] ?? []) : quote(String(node['const'])),
  )
  return kinds.map((kind) => (kind === 'array' ? 'a list' : String(kind))).join(' or ')
}

function choices(values: readonly unknown[]): string {
  return values.map((value) => show(value)).join(' or ')
}

function article(type: string): string {
  const names: Record<string, string> = {
    object: 'a mapping',
    array: 'a list',
    tuple: 'a list',
    int: 'a whole number',
    number: 'a number',
    string: 'a text',
    boolean: 'true or false',
  }
  return names[type] ?? type
}

function get(value: unknown, path: Path): unknown {
  let at = value
  for (const step of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined
    at = (at as Record<string | number, unknown>)[step]
  }
  return at
}
