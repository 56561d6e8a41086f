/** Public face of the protocol: IEC 60870-5-104 and Q3P, both pure. */

export {
  APCI_BYTES,
  type Apdu,
  encodeI,
  encodeS,
  encodeU,
  type IFrame,
  MAX_APDU_BYTES,
  MAX_ASDU_BYTES,
  parseApdu,
  SEQ_MODULUS,
  type SFrame,
  StreamDeframer,
  type UFrame,
  type UFunction,
} from './iec104/apci.ts'
export {
  type Asdu,
  type AsduOf,
  type AsduParams,
  type AsduView,
  asduOf,
  cot,
  decodeAsdu,
  encodeAsdu,
  isControlDirection,
  MAX_OBJECTS,
  peekAsdu,
  replyTo,
} from './iec104/asdu.ts'
export { type ApciCloseReason, ApciConnection, type ApciEffect, type ApciOptions } from './iec104/connection.ts'
export { WireError, type WireFault } from './iec104/errors.ts'
export { CENTRE_MESSAGE_TYPE, centreOctetsOf, encodeCentreAsdu } from './iec104/private.ts'
export { StreamSession, type StreamSessionEffect } from './iec104/stream-session.ts'
export { type Cp24Time2a, type Cp56Time2a, cp56 } from './iec104/time.ts'
export {
  layoutById,
  layoutOf,
  TYPES,
  type TypeLayout,
  type TypeName,
  typeIdOf,
  typeName,
  type Value,
} from './iec104/types.ts'
export { Q3pChannel, type Q3pChannelOptions } from './q3p/channel.ts'
export type { Dropped, Opened } from './q3p/channel-receiver.ts'
export { HANDSHAKE_SLOTS, type KeyShortage, type Sealed } from './q3p/channel-sender.ts'
export { encodeHandshake, type Handshake, parseHandshake } from './q3p/handshake.ts'
export {
  type Command,
  HEADER_BYTES,
  type Header,
  MAX_DATAGRAM_BYTES,
  MAX_PAYLOAD_BYTES,
  MIN_DATAGRAM_BYTES,
  newDatagram,
  parseHeader,
  TAG_BYTES,
} from './q3p/header.ts'
export { KEY_LOG_HEADER, type KeyLogLine, type KeyLogRecord, parseKeyLogLine } from './q3p/key-log.ts'
export { type AppendResult, KeyStream, SLOT_BYTES } from './q3p/key-stream.ts'
export {
  Ledger,
  type LedgerContent,
  LedgerError,
  type LedgerFault,
  type LedgerIdentity,
  type LedgerWrite,
  readLedger,
} from './q3p/ledger.ts'
export {
  LINK_DEFAULTS,
  type LostReason,
  type SecureLinkEffect,
  type SecureLinkInput,
  type SecureLinkOptions,
} from './q3p/link-contract.ts'
export { type ChannelMark, SLOT_RANGE } from './q3p/marks.ts'
export { cryptoReady } from './q3p/poly1305.ts'
export { ReplayWindow, rebuildCounter, WINDOW_MESSAGES } from './q3p/replay-window.ts'
export { SecureLink } from './q3p/secure-link.ts'
export type { LinkMessage } from './q3p/send-queue.ts'
export {
  AES_KEY_BYTES,
  type AesKey,
  type MacKey,
  openAes,
  openAuth,
  openOtp,
  sealAes,
  sealAuth,
  sealOtp,
} from './q3p/suites.ts'
export type { DropReason, FrameSuite, HeaderDrop, KeyBlock, StreamBooks, Suite } from './q3p/types.ts'
