/** The pure part of the key pool: no clock, timer, socket or Node API. What virtual worlds import. */
export { WARN_RATIO } from './level.ts'
export { KeyPool, type KeyPoolOptions, MAX_SLOT, MAX_WANT_SLOTS, SLOT_BYTES } from './pool.ts'
export {
  type KeyServerEffect,
  type KeyServerInput,
  KeyServerNode,
  type KeyServerOptions,
  type Refusal,
  type StreamPosition,
} from './server-node.ts'
