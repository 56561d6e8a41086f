import { createSocket, type Socket } from 'node:dgram'

/** One end of a point-to-point link: its own address and the peer's. */
export type UdpEnd = { readonly localHost: string; readonly peerHost: string; readonly port: number }

/**
 * When a datagram handed over now is to leave: never when it is lost, twice when it is doubled. The transport's law where
 * netem is missing.
 */
export type SendLaw = (nowMs: number, sizeBytes: number) => readonly number[]

/** What a link end saw, as its counters. `refused` counts datagrams that the kernel could not deliver (peer not up). */
export type UdpCounters = { sent: number; received: number; lostByLaw: number; refused: number }

export type UdpLinkOptions = {
  readonly end: UdpEnd
  readonly nowMs: () => number
  /** Absent: the kernel's netem applies the link's law, datagrams are sent at once. */
  readonly law?: SendLaw
  readonly onDatagram: (bytes: Uint8Array) => void
  /** Sees each datagram as it is put on the wire (the recorder of labs without tcpdump). */
  readonly onWire?: (bytes: Uint8Array) => void
}

const RECEIVE_BUFFER_BYTES = 4 << 20

/**
 * A connected UDP socket: the kernel passes only datagrams of the peer's address. It never throws for what the network
 * does; a peer that is not there yet is counted.
 */
export class UdpLink {
  readonly counters: UdpCounters = { sent: 0, received: 0, lostByLaw: 0, refused: 0 }
  readonly #options: UdpLinkOptions
  readonly #socket: Socket
  #isOpen = false

  constructor(options: UdpLinkOptions) {
    this.#options = options
    // Room for a burst: the kernel's default of 208 KB overflows while a busy process looks elsewhere.
    this.#socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER_BYTES })
    this.#socket.on('message', (bytes) => {
      this.counters.received += 1
      // A plain view: `slice` of a Buffer would not copy.
      options.onDatagram(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length))
    })
    this.#socket.on('error', () => {
      this.counters.refused += 1
    })
  }

  /** Binds and connects; rejects when the local address cannot be bound. */
  async open(): Promise<void> {
    const { localHost, peerHost, port } = this.#options.end
    await new Promise<void>((resolve, reject) => {
      this.#socket.once('error', reject)
      this.#socket.bind({ address: localHost, port, exclusive: true }, () => {
        this.#socket.connect(port, peerHost, () => {
          this.#socket.off('error', reject)
          resolve()
        })
      })
    })
    this.#isOpen = true
  }

  send(bytes: Uint8Array): void {
    const { law, nowMs } = this.#options
    if (law === undefined) {
      this.#transmit(bytes)
      return
    }
    const now = nowMs()
    const departsMs = law(now, bytes.length)
    if (departsMs.length === 0) this.counters.lostByLaw += 1
    for (const departMs of departsMs) {
      if (departMs <= now) this.#transmit(bytes)
      else setTimeout(() => this.#transmit(bytes), departMs - now)
    }
  }

  #transmit(bytes: Uint8Array): void {
    if (!this.#isOpen) return
    this.counters.sent += 1
    this.#options.onWire?.(bytes)
    this.#socket.send(bytes, (error) => {
      if (error !== null) this.counters.refused += 1
    })
  }

  close(): void {
    this.#isOpen = false
    this.#socket.close()
  }
}
