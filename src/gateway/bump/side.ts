import type { LabEvent } from '../../runtime/contract.ts'
import type { BumpConfig, BumpEffect, BumpInput } from './config.ts'
import type { LinkPipe } from './link-pipe.ts'
import { NearSession } from './near-session.ts'
import type { Retained } from './retained.ts'

/** What both sides of a pair work with. */
export type SideContext = {
  readonly config: BumpConfig
  readonly pipe: LinkPipe
  readonly retained: Retained
  readonly emit: (effect: BumpEffect) => void
  readonly event: (event: LabEvent) => void
}

export type NearInput = Extract<BumpInput, { kind: 'nearOpen' | 'nearData' | 'nearClosed' }>

/** One side of a pair: what it does with its near connections. */
export type Side = {
  readonly wakeAtMs: number | undefined
  readonly take: (input: NearInput, nowMs: number) => void
  /** An ASDU of the twin for the present connection. */
  readonly deliver: (asdu: Uint8Array, nowMs: number) => void
  /** The present connection cannot go on. */
  readonly fail: (reason: string) => void
  /** Acts on timers. */
  readonly wake: (nowMs: number) => void
  /** Does all that the state of near connections and link now allows. */
  readonly advance: (nowMs: number) => void
  readonly drain: () => void
}

/** A near connection with its effects wired to the context. */
export function nearSession(context: SideContext, connection: number, onClose: (reason: string) => void): NearSession {
  const { config, pipe, emit } = context
  const role = config.side === 'accept' ? 'controlled' : 'controlling'
  return new NearSession(
    { ...config.near, role },
    {
      write: (bytes) => emit({ kind: 'nearWrite', connection, bytes }),
      pause: (isPaused) => emit({ kind: 'nearPause', connection, isPaused }),
      asdu: (asdu, nowMs) => pipe.send(asdu, nowMs),
      sent: () => pipe.handOn(),
      close: (reason) => {
        emit({ kind: 'nearClose', connection })
        onClose(reason)
      },
    },
  )
}

/** The earlier of two times. */
export function earliest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((atMs) => atMs !== undefined)
  return known.length > 0 ? Math.min(...known) : undefined
}
