/** The records of a run (`events.jsonl`) as metrics read them: facts by name, with their type checked where they are used. */
import type { LabEvent } from '../runtime/contract.ts'

/** One record: an event with the lab time and the node it came from. */
export type LabRecord = LabEvent & { readonly tMs: number; readonly node: string }

/** A number among the facts, or undefined. */
export function numberOf(record: LabEvent, fact: string): number | undefined {
  const value = record[fact]
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

/** A text among the facts, or undefined. */
export function textOf(record: LabEvent, fact: string): string | undefined {
  const value = record[fact]
  return typeof value === 'string' ? value : undefined
}

/** Records by name, each list in order of time. */
export function byName(records: readonly LabRecord[]): ReadonlyMap<string, readonly LabRecord[]> {
  const map = groupBy(records, ({ name }) => name)
  for (const list of map.values()) list.sort((a, b) => a.tMs - b.tMs)
  return map
}

/** Items by a key. */
export function groupBy<T, K>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const map = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const list = map.get(key)
    if (list === undefined) map.set(key, [item])
    else list.push(item)
  }
  return map
}
