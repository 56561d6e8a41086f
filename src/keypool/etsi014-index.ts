/** ETSI GS QKD 014 V1.1.1: key manager, SAE client, and the two ways to fill key streams from a manager. */
export {
  type EncKeysOptions,
  Etsi014Client,
  type Etsi014ClientOptions,
  Etsi014Error,
  type Etsi014Fault,
} from './etsi014-client.ts'
export {
  type Etsi014Answer,
  type Etsi014Counts,
  Etsi014Manager,
  type Etsi014ManagerOptions,
  type Etsi014Request,
} from './etsi014-manager.ts'
export { ETSI014_TEXTS, Etsi014Key, type Etsi014Status, isSaeId } from './etsi014-messages.ts'
export { OctetQueue } from './etsi014-octets.ts'
export {
  Etsi014Pairing,
  type Etsi014PairingEffect,
  type Etsi014PairingInput,
  type Etsi014PairingOptions,
} from './etsi014-pairing.ts'
export { Etsi014PoolStore, type Etsi014PoolStoreOptions } from './etsi014-pool-store.ts'
export { type Etsi014ServeOptions, type Etsi014Server, serveEtsi014 } from './etsi014-server.ts'
export {
  Etsi014Source,
  type Etsi014SourceCounts,
  type Etsi014SourceOptions,
  type Etsi014SourceState,
} from './etsi014-source.ts'
export { Etsi014MemoryStore, type Etsi014Store } from './etsi014-store.ts'
