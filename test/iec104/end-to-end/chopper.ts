import { connect, createServer, type Socket } from 'node:net'
import { randomStream } from '../../../src/sim/index.ts'

/** A TCP relay that cuts the stream at random places, and its connections when told to. */
export type Chopper = {
  readonly port: number
  /** Resets what is connected now. */
  readonly cut: () => void
  readonly close: () => Promise<void>
}

/** Relays to `port` on loopback in pieces of 1..`maxPieceBytes` octets, each in a turn of the event loop of its own. */
export async function startChopper(port: number, maxPieceBytes: number, seed: number): Promise<Chopper> {
  const random = randomStream(seed, 'chopper')
  const sockets = new Set<Socket>()

  const relay = (from: Socket, to: Socket): void => {
    const waiting: Buffer[] = []
    const next = (): void => {
      const [first] = waiting
      if (first === undefined) return
      const piece = first.subarray(0, 1 + Math.floor(random.uniform() * maxPieceBytes))
      if (piece.length === first.length) waiting.shift()
      else waiting[0] = first.subarray(piece.length)
      to.write(piece)
      setImmediate(next)
    }
    from.on('data', (chunk: Buffer) => {
      waiting.push(chunk)
      if (waiting.length === 1) next()
    })
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
    sockets.add(from)
    from.once('close', () => sockets.delete(from))
  }
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port, noDelay: true })
    relay(near, far)
    relay(far, near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut,
    close() {
      cut()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
