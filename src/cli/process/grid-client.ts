import { connect, type Socket } from 'node:net'
import { encodeGridMessage, GridLineDecoder, parseGridReply } from '../../grid/index.ts'
import type { GridDone, GridRequest, GridSample } from '../../runtime/contract.ts'
import type { Address } from '../lab/ipc.ts'

const RETRY_MS = 200
/** Requests kept while the grid cannot be reached. */
const MAX_HELD = 256

/** An IED's connection to the grid port. Connects again by itself and then repeats its subscriptions. */
export class GridClient {
  /** Resolves at the first connection. */
  readonly ready: Promise<void>
  readonly #address: Address
  readonly #onWaiting: (peer: string) => void
  readonly #subscriptions = new Map<number, GridRequest>()
  readonly #held: GridRequest[] = []
  #take: (message: GridSample | GridDone) => void = () => {}
  #socket: Socket | undefined
  #connected = false
  #closed = false
  #timer: NodeJS.Timeout | undefined
  #resolveReady: () => void = () => {}

  constructor(address: Address, onWaiting: (peer: string) => void) {
    this.#address = address
    this.#onWaiting = onWaiting
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve
    })
    this.#connect()
  }

  onMessage(take: (message: GridSample | GridDone) => void): void {
    this.#take = take
  }

  request(request: GridRequest): void {
    if (request.kind === 'subscribe') this.#subscriptions.set(request.bus, request)
    if (this.#connected) this.#socket?.write(encodeGridMessage(request))
    else if (request.kind !== 'subscribe' && this.#held.length < MAX_HELD) this.#held.push(request)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#socket?.destroy()
  }

  #connect(): void {
    const decoder = new GridLineDecoder(parseGridReply)
    const socket = connect({ ...this.#address, noDelay: true })
    this.#socket = socket
    socket.on('connect', () => {
      this.#connected = true
      for (const request of [...this.#subscriptions.values(), ...this.#held.splice(0)]) {
        socket.write(encodeGridMessage(request))
      }
      this.#resolveReady()
    })
    socket.on('data', (chunk) => {
      for (const line of decoder.push(chunk)) if (line.kind === 'message') this.#take(line.message)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#connected = false
      if (this.#closed) return
      this.#onWaiting('grid')
      this.#timer = setTimeout(() => this.#connect(), RETRY_MS)
    })
  }
}
