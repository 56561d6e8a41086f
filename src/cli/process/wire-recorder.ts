import { LINKTYPE_RAW, PcapngFile, rawUdpPacket, wallNs } from '../../runtime/index.ts'
import type { LinkEnd } from '../lab/ipc.ts'

const FLUSH_PERIOD_MS = 500

/** Records the datagrams a process sends, for labs where no tcpdump may run. The run merges the files of all processes. */
export class WireRecorder {
  readonly #file: PcapngFile
  readonly #interfaceOf = new Map<number, number>()
  readonly #timer: NodeJS.Timeout

  constructor(path: string) {
    this.#file = new PcapngFile(path)
    this.#timer = setInterval(() => this.#file.flush(), FLUSH_PERIOD_MS)
  }

  record(end: LinkEnd, payload: Uint8Array): void {
    const { link, localHost, peerHost, port } = end
    let interfaceId = this.#interfaceOf.get(link)
    if (interfaceId === undefined) {
      interfaceId = this.#file.writer.addInterface({ name: String(link), linkType: LINKTYPE_RAW })
      this.#interfaceOf.set(link, interfaceId)
    }
    const ends = { sourceAddress: localHost, sourcePort: port, destinationAddress: peerHost, destinationPort: port }
    this.#file.writer.frame({ interfaceId, timestampNs: wallNs(Date.now()), bytes: rawUdpPacket(ends, payload) })
  }

  close(): void {
    clearInterval(this.#timer)
    this.#file.flush()
  }
}
