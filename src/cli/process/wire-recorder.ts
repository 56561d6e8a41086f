import { existsSync } from 'node:fs'
import { LINKTYPE_RAW, PcapngFile, rawUdpPacket, wallNs } from '../../runtime/index.ts'
import type { LinkEnd } from '../lab/ipc.ts'

/**
 * Records the datagrams a process sends, for labs where no tcpdump may run. The run merges the files of all processes. They
 * are written at the end of each turn of the event loop, so that a process that is killed leaves what it has sent.
 */
export class WireRecorder {
  readonly #file: PcapngFile
  readonly #interfaceOf = new Map<number, number>()
  #isFlushing = false

  /** `path` ends in `.pcapng`; the file of an earlier process of the node stays, this one's gets a number. */
  constructor(path: string) {
    let file = path
    for (let life = 2; existsSync(file); life += 1) file = path.replace(/pcapng$/, `${life}.pcapng`)
    this.#file = new PcapngFile(file)
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
    if (this.#isFlushing) return
    this.#isFlushing = true
    setImmediate(() => {
      this.#isFlushing = false
      this.#file.flush()
    })
  }

  close(): void {
    this.#file.flush()
  }
}
