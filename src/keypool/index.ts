/** Key pool, key server and what its clients need. @peculiar/x509 and ioredis are loaded only when they are used. */
export { type LabCa, makeLabCa, type NodeCertificate, writeLabCa } from './ca.ts'
export type { FetchDetails, KeyClientOptions, KeyServerWait } from './client-contract.ts'
export { KeyClient } from './grpc-client.ts'
export { type KeyServer, type KeyServerTls, type ServeOptions, serveKeys } from './grpc-server.ts'
export { type JournalFile, type JournalFileOptions, openKeyJournal } from './journal-file.ts'
export { KEYSERVER_PROTO } from './proto.ts'
export * from './pure.ts'
export { PoolPublisher, type PoolPublisherOptions, type RedisAddress, type RedisCounts } from './redis.ts'
