/** The pure part of the key pool: no clock, timer, socket or Node API. What virtual worlds import. */
export { type JournalEntry, JournalError, type JournalPast, JournalState, type KeyJournal } from './journal.ts'
export { KeyBuffer } from './key-buffer.ts'
export { WARN_RATIO } from './level.ts'
export { KeyPool, type WantDetails } from './pool.ts'
export {
  AUTHENTICATION_SLOTS,
  type KeyPoolOptions,
  type KeyQuota,
  MAX_SLOT,
  MAX_WANT_SLOTS,
  SLOT_BYTES,
} from './pool-options.ts'
export type { PoolRecord } from './pool-record.ts'
export { carryHopByHop, type RelayEdge, RelayMap } from './relay.ts'
export type { RouteChange } from './relay-links.ts'
export type {
  KeyServerEffect,
  KeyServerInput,
  KeyServerOptions,
  Refusal,
  StreamPosition,
} from './server-contract.ts'
export { KeyServerNode } from './server-node.ts'
export type { StreamRecord, TallyRecord } from './stream.ts'
