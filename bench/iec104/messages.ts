/** What a benchmark and its server process say to each other. Times are `process.hrtime` in ns, one clock for both. */
import type { StationConfig, StationStatus } from '../../src/rtu/index.ts'

/** Load that the server's process side makes. */
export type Load =
  /** No changes. */
  | { readonly kind: 'none' }
  /** Changes of one point, one at a time, `everyMs` apart. The value counts up. */
  | { readonly kind: 'paced'; readonly everyMs: number; readonly ca: number; readonly ioa: number }
  /** Changes of one point as fast as they are taken: `waiting` events are kept in the queue. The value counts up. */
  | { readonly kind: 'flood'; readonly waiting: number; readonly ca: number; readonly ioa: number }

export type ToServer =
  | { readonly kind: 'listen'; readonly config: StationConfig }
  /** Listen with a bare echo instead. */
  | { readonly kind: 'echo' }
  | { readonly kind: 'load'; readonly load: Load }
  /** `collect`: collect garbage before. */
  | { readonly kind: 'report'; readonly collect: boolean }

export type FromServer =
  | { readonly kind: 'listening'; readonly port: number }
  | {
      readonly kind: 'report'
      readonly status: StationStatus
      readonly changes: number
      /** When the latest changes of a paced load were made, ns, the first of value `changes - changedAtNs.length + 1`. */
      readonly changedAtNs: readonly number[]
      readonly heapBytes: number
      readonly rssBytes: number
      readonly cpuMs: number
    }
