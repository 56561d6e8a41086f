import type { LabClock } from './clock.ts'
import type { Node, Wake } from './contract.ts'

const WAKE: Wake = { kind: 'wake' }

/** How late the node's wakes came, in ms: the run is judged by it. */
export type WakeLag = { readonly wakes: number; readonly maxMs: number; readonly over50Ms: number }

export type Drive<Input> = {
  /** Hands one input to the node; effects are carried out before it returns, unless it is called from within an effect. */
  readonly feed: (input: Input | Wake) => void
  readonly lag: () => WakeLag
}

/**
 * Runs a node on real time: the only place with a node's timer. An input that arrives while effects are being carried
 * out waits its turn, so `handle` is never re-entered.
 */
export function drive<Input, Effect>(
  node: Node<Input, Effect>,
  io: {
    readonly nowMs: LabClock
    readonly carryOut: (effect: Effect, nowMs: number) => void
    readonly signal: AbortSignal
  },
): Drive<Input> {
  const waiting: (Input | Wake)[] = []
  let busy = false
  let timer: NodeJS.Timeout | undefined
  let lag = { wakes: 0, maxMs: 0, over50Ms: 0 }

  const noteLag = (lateMs: number): void => {
    lag = { wakes: lag.wakes + 1, maxMs: Math.max(lag.maxMs, lateMs), over50Ms: lag.over50Ms + (lateMs > 50 ? 1 : 0) }
  }

  /** Due time of the timer that runs: an input that does not move it costs no timer. */
  let armedMs: number | undefined

  const arm = (): void => {
    const dueMs = io.signal.aborted ? undefined : node.wakeAtMs
    if (dueMs === armedMs) return
    clearTimeout(timer)
    armedMs = dueMs
    if (dueMs === undefined) return
    timer = setTimeout(
      () => {
        armedMs = undefined
        const lateMs = io.nowMs() - dueMs
        if (lateMs < 0) return arm() // Node's timers have millisecond steps and may be a fraction early.
        noteLag(lateMs)
        feed(WAKE)
      },
      Math.max(0, dueMs - io.nowMs()),
    )
  }

  const feed = (input: Input | Wake): void => {
    if (io.signal.aborted) return
    waiting.push(input)
    if (busy) return
    busy = true
    try {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const nowMs = io.nowMs()
        for (const effect of node.handle(next, nowMs)) io.carryOut(effect, nowMs)
      }
    } finally {
      busy = false
    }
    arm()
  }

  io.signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
  arm()
  return { feed, lag: () => lag }
}
