import type { KeyBlock, LabEvent } from '../runtime/contract.ts'
import type { KeyServerEffect } from './server-contract.ts'
import type { StreamRecord } from './stream.ts'

/** An event for the record. */
export function event(name: string, facts: Omit<LabEvent, 'name'>): KeyServerEffect {
  return { kind: 'event', event: { name, ...facts } }
}

/** What became of a channel's slots. */
export function streamEvent({ reserved: _, toldDiscardedSlots: __, ...stream }: StreamRecord): KeyServerEffect {
  return event('stream', stream)
}

/** An empty block: where a stream goes on. */
export function empty(channel: number, slot: number): KeyBlock {
  return { channel, slot, bytes: new Uint8Array(0) }
}

/** A path, or none, as the record has it. */
export function via(path: readonly string[] | undefined): { path: string | null; hops: number } {
  return path === undefined ? { path: null, hops: 0 } : { path: path.join(' '), hops: path.length - 1 }
}
