export { EventQueue } from './event-queue.ts'
export { type Faulted, FaultInjector, type FaultLaw } from './faults.ts'
export {
  type BurstLoss,
  CLEAR,
  checkedLaw,
  FRAME_OVERHEAD_BYTES,
  Impairment,
  type JitterShape,
  jitterDeviation,
  type LinkLaw,
  lawInState,
} from './impair.ts'
export {
  BB84,
  type Bb84,
  binaryEntropy,
  type DecoyBb84,
  GYS,
  type KeyRate,
  keyRate,
  type Noise,
  optimalMeanPhotons,
  type RateModel,
} from './key-rate.ts'
export { type LinkModelEffect, type LinkModelInput, LinkModelNode, type LinkModelOptions } from './link-model-node.ts'
export {
  DEVICE_DELAY_MS,
  type Disturbance,
  PROPAGATION_MS_PER_KM,
  QkdLink,
  type QkdLinkOptions,
  type QkdStep,
} from './qkd-link.ts'
export { type Random, randomStream } from './random.ts'
export {
  type Datagram,
  World,
  type WorldCounts,
  type WorldEvent,
  type WorldLink,
  type WorldOptions,
} from './world.ts'
export type { GridEffect, GridInput, KeyServerEffect, KeyServerInput } from './world-peers.ts'
