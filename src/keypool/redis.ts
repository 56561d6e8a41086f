import type { Redis } from 'ioredis'
import type { PoolStatus } from '../runtime/contract.ts'

/** Where Redis listens: TCP, or a unix socket. */
export type RedisAddress = { readonly host: string; readonly port: number } | { readonly path: string }

export type PoolPublisherOptions = RedisAddress & {
  /** Name of the lab; part of the channel `q104:<lab>:pool` and the key `q104:<lab>:pool:last`. */
  readonly lab: string
}

/** `published` states reached Redis, `failed` did not come through, `skipped` found it away or busy. */
export type RedisCounts = {
  readonly published: number
  readonly failed: number
  readonly skipped: number
  readonly connectionErrors: number
}

/** A Redis that hangs is owed this many states; more are skipped until it answers or the connection breaks. */
const MAX_IN_FLIGHT = 16
const CLOSE_TIMEOUT_MS = 500
const FIRST_BACKOFF_MS = 100
const MAX_BACKOFF_MS = 5000

/**
 * Publishes the pool's state on Redis, as the JSON of a PoolStatus: PUBLISH for those who listen, SET for those who come
 * later. Redis may be away at any time: states are then skipped and counted, and nothing waits or throws.
 */
export class PoolPublisher {
  readonly channel: string
  readonly lastKey: string
  readonly #opening: Promise<void>
  #redis: Redis | undefined
  #closed = false
  #inFlight = 0
  #published = 0
  #failed = 0
  #skipped = 0
  #connectionErrors = 0

  constructor({ lab, ...address }: PoolPublisherOptions) {
    this.channel = `q104:${lab}:pool`
    this.lastKey = `${this.channel}:last`
    this.#opening = this.#open(address)
  }

  counts(): RedisCounts {
    return {
      published: this.#published,
      failed: this.#failed,
      skipped: this.#skipped,
      connectionErrors: this.#connectionErrors,
    }
  }

  publish(status: PoolStatus): void {
    if (this.#redis?.status !== 'ready' || this.#inFlight >= MAX_IN_FLIGHT) {
      this.#skipped++
      return
    }
    const json = JSON.stringify(status)
    this.#inFlight++
    this.#redis
      .multi()
      .set(this.lastKey, json)
      .publish(this.channel, json)
      .exec()
      .then(
        () => this.#published++,
        () => this.#failed++,
      )
      .finally(() => this.#inFlight--)
  }

  /** Waits a moment for what is under way, then ends the connection. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#opening
    if (this.#redis?.status === 'ready') {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_TIMEOUT_MS)
      })
      await Promise.race([late, this.#redis.quit().then(nothing, nothing)])
      clearTimeout(timer)
    }
    this.#redis?.disconnect()
  }

  /** The client library is loaded only where there is a publisher: the nodes of a lab stay small. */
  async #open(address: RedisAddress): Promise<void> {
    const { Redis } = await import('ioredis')
    if (this.#closed) return
    this.#redis = new Redis({
      ...address,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      disconnectTimeout: CLOSE_TIMEOUT_MS,
      retryStrategy: (attempt) => Math.min(FIRST_BACKOFF_MS * 2 ** Math.min(attempt, 10), MAX_BACKOFF_MS),
    })
    this.#redis.on('error', () => this.#connectionErrors++)
  }
}

function nothing(): void {}
