export { type LabClock, labClock } from './clock.ts'
export { type Drive, drive, type WakeLag } from './drive.ts'
export {
  completeUdpChecksum,
  LINKTYPE_RAW,
  type PcapngContent,
  PcapngError,
  PcapngFile,
  type PcapngSection,
  rawUdpPacket,
  readPcapng,
  wallNs,
} from './pcapng.ts'
export { parseRecords, type RecordedEvent, Recorder } from './record.ts'
export {
  type Dialer,
  type DialHandlers,
  type DialOptions,
  dialTcp,
  type Listener,
  type ListenOptions,
  listenTcp,
  type OctetStream,
} from './tcp.ts'
export { loadTls, TcpError, type TlsMaterial, type TlsOptions } from './tcp-tls.ts'
export { type SendLaw, type UdpCounters, type UdpEnd, UdpLink } from './udp.ts'
