import {
  ControllingStation,
  type ControllingStationEffect,
  type ControllingStationInput,
  type ControllingStationOptions,
  type Operation,
} from '../../master/index.ts'
import { type DialOptions, dialTcp, drive, labClock, type OctetStream } from '../../runtime/index.ts'

export type SessionOptions = {
  readonly dial: DialOptions
  readonly station: ControllingStationOptions
  /** Told of everything but `write` and `end`, in order. */
  readonly observe: (effect: SessionNews) => void
}

export type SessionNews =
  | Exclude<ControllingStationEffect, { kind: 'write' | 'end' }>
  | { readonly kind: 'connected'; readonly peer: string; readonly peerName: string | undefined }
  | { readonly kind: 'unreachable'; readonly reason: string; readonly retryMs: number | undefined }

export type Done = Extract<ControllingStationEffect, { kind: 'done' }>

/** A controlling station on a real stream, with promises for its operations. */
export type Session = {
  /** The data transfer is under way: `started`, `stopped`, or `over` when no connection will come any more. */
  readonly state: () => 'waiting' | 'started' | 'stopped' | 'over'
  /** Resolves when the state is no longer the given one. */
  readonly leaves: (state: ReturnType<Session['state']>) => Promise<void>
  /** RangeError for an operation that cannot be sent. */
  readonly operate: (operation: Operation) => Promise<Done>
  readonly feed: (input: ControllingStationInput) => void
  /** Ends operations as `closed`, and the connection. */
  readonly close: (reason: string) => void
}

/** Dials and keeps a controlling station going until `close`, or until the connection is over and `retry` is not set. */
export function openSession(options: SessionOptions): Session {
  const station = new ControllingStation(options.station)
  const ending = new AbortController()
  const waiting = new Map<number, (done: Done) => void>()
  let leaving: (() => void)[] = []
  let state: ReturnType<Session['state']> = 'waiting'
  let stream: OctetStream | undefined
  let nextId = 1

  const enter = (next: typeof state): void => {
    if (next === state || state === 'over') return
    state = next
    const told = leaving
    leaving = []
    for (const leave of told) leave()
  }

  const carryOut = (effect: ControllingStationEffect): void => {
    switch (effect.kind) {
      case 'write':
        stream?.write(effect.bytes)
        return
      case 'end':
        stream?.close()
        return
      case 'done':
        waiting.get(effect.id)?.(effect)
        waiting.delete(effect.id)
        break
      case 'link':
        enter(effect.state === 'closed' ? 'waiting' : effect.state)
        break
      case 'data':
      case 'raw':
      case 'sent':
        break
    }
    options.observe(effect)
  }
  const { feed } = drive(station, { nowMs: labClock(process.hrtime.bigint()), carryOut, signal: ending.signal })

  const over = (reason: string): void => {
    feed({ kind: 'abandon', reason })
    enter('over')
  }

  const dialer = dialTcp(options.dial, {
    onConnection(connected) {
      stream = connected
      options.observe({ kind: 'connected', peer: connected.peer, peerName: connected.peerName })
      feed({ kind: 'open' })
      connected.onData((bytes) => feed({ kind: 'octets', bytes }))
      connected.onClose((reason) => {
        if (stream === connected) stream = undefined
        feed({ kind: 'closed', reason })
        if (options.dial.retry === undefined) over(reason)
      })
    },
    onFailure(reason, retryMs) {
      options.observe({ kind: 'unreachable', reason, retryMs })
      if (retryMs === undefined) over(reason)
    },
  })

  return {
    state: () => state,
    leaves: (left) => (left === state ? new Promise((resolve) => leaving.push(resolve)) : Promise.resolve()),
    operate(operation) {
      const id = nextId++
      return new Promise((resolve) => {
        waiting.set(id, resolve)
        feed({ kind: 'operate', id, operation, wallMs: Date.now() })
        if (state === 'over') feed({ kind: 'abandon', reason: 'the connection is over' })
      })
    },
    feed,
    close(reason) {
      over(reason)
      dialer.close()
      ending.abort()
    },
  }
}
