import type { ChainState } from '../chain.ts'
import type { GameChain, GameOption } from './model.ts'

/** A chain as the game knows it; key is that of all its hops together. */
export type TaskChain = {
  readonly id: string
  /** Messages a second. */
  readonly ratePerS: number
  /** Key of one message with the one-time pad, and with AES, bits. */
  readonly otpBits: number
  readonly aesBits: number
  /** States the chain may have. */
  readonly states: readonly ChainState[]
  /** xi_drop and xi_deg, a second; the latter is 0 where AES suffices. */
  readonly dropLoss: number
  readonly degradeLoss: number
  /** gamma, for one change of state. */
  readonly switchLoss: number
} & GridHelp

/** What is missing while a chain is off: what it lifts the frequency by, moves the voltage at its station by, and steers. */
export type GridHelp = {
  readonly frequencyHz: number
  readonly voltagePu: number
  readonly loadMw: number
}

/** Weights of the grid's terms in (25), a second. */
export type GridTerms = {
  /** w_f: the leader's. */
  readonly lossPerHz: number
  /** w_v: each follower's own. */
  readonly lossPerPu: number
  readonly lossPerMw: number
}

/**
 * The options of a chain over a window.
 *
 * A chain that is off takes away help, always in the direction of the disturbance, so the frequency term w_f |df| is a
 * sum over chains. It is the leader's, also for followers' chains; voltage and load are the follower's own.
 */
export function gameChainOf(
  chain: TaskChain,
  before: ChainState,
  context: { readonly windowS: number; readonly terms: GridTerms; readonly role: 'leader' | 'follower' },
): GameChain {
  const { windowS, terms, role } = context
  const messages = chain.ratePerS * windowS
  const options = chain.states.map((state): GameOption => {
    const bits = state === 2 ? chain.otpBits : state === 1 ? chain.aesBits : 0
    const off = state === 0 ? windowS : 0
    const frequency = off * terms.lossPerHz * Math.abs(chain.frequencyHz)
    const local = off * (terms.lossPerPu * Math.abs(chain.voltagePu) + terms.lossPerMw * chain.loadMw)
    const task = state === 0 ? windowS * chain.dropLoss : state === 1 ? windowS * chain.degradeLoss : 0
    const switching = state === before ? 0 : chain.switchLoss
    return {
      state,
      path: 0,
      meanBits: messages * bits,
      varianceBits2: messages * bits * bits,
      ownLoss: task + switching + (role === 'leader' ? frequency : local),
      leaderLoss: role === 'leader' ? 0 : frequency,
    }
  })
  return { id: chain.id, options }
}

/** Key the chain would take with the one-time pad, bit/s. */
export function fullDemandBps({ ratePerS, otpBits }: TaskChain): number {
  return ratePerS * otpBits
}
