import type { ChainState } from '../chain.ts'
import type { ChanceInput } from './chance.ts'
import { type AgentDelivery, type Fairness, fairnessOf } from './fairness.ts'
import type { GameDecision, GamePolicy } from './policies.ts'
import type { GridTerms, TaskChain } from './terms.ts'

export type WorldAgent = { readonly id: string; readonly chains: readonly TaskChain[] }

/** Where key comes from. */
export interface KeySupply {
  /** Moves on by one tick and gives the key made in it, bits. */
  step(dtMs: number): number
  /** Expected key of the next `steps` steps of a second, and the deviation of its sum up to each, bits. */
  forecast(steps: number): { readonly supplyBits: readonly number[]; readonly supplyStdBits: readonly number[] }
}

export type StockWorldOptions = {
  /** The first leads. */
  readonly agents: readonly WorldAgent[]
  readonly policy: GamePolicy
  readonly supply: KeySupply
  /** A Poisson draw with the given mean, for one chain. */
  readonly poisson: (agent: number, chain: number, mean: number) => number
  readonly terms: GridTerms
  readonly tickMs: number
  /** Ticks from plan to plan. */
  readonly planEvery: number
  /** Window of a plan, whole seconds. */
  readonly windowS: number
  readonly initialBits: number
  readonly capBits: number
  readonly bufferBits: number
  readonly reserveBits: number
  readonly riskRatio: number
}

/** What a stretch of time brought. */
export type StockReport = {
  readonly fairness: Fairness
  readonly deliveries: readonly AgentDelivery[]
  /** Mean loss a second of each agent: the leader's with what it feels of the followers' chains. */
  readonly lossPerS: readonly number[]
  /** Of all agents together. */
  readonly socialPerS: number
  readonly messages: number
  /** Messages for which there was no key although their chain was on. */
  readonly shortMessages: number
  readonly generatedBits: number
  readonly discardedBits: number
  readonly meanStockBits: number
}

/**
 * Agents that draw on a key stock under a policy, in virtual time: links make key, messages come as Poisson processes,
 * each takes its key at once or is lost for want of it. No messages travel; that is the lab's part.
 */
export class StockWorld {
  readonly #options: StockWorldOptions
  readonly #shares: readonly number[]
  readonly #stocks: number[]
  #states: (readonly ChainState[])[]
  #tick = 0
  lastDecision: GameDecision | undefined

  constructor(options: StockWorldOptions) {
    const { agents, policy, initialBits } = options
    this.#options = options
    this.#states = agents.map(({ chains }) => chains.map(() => 2 as const))
    this.#shares = policy.shares(this.#views()) ?? [1]
    this.#stocks = this.#shares.map((share) => share * initialBits)
  }

  /** Runs on for `seconds` and reports on that time. */
  run(seconds: number): StockReport {
    const { agents, supply, tickMs, planEvery, capBits } = this.#options
    const startBits = sum(this.#stocks)
    const deliveries = agents.map(() => ({ deliveredBits: 0, fullDemandBits: 0 }))
    const losses = agents.map(() => 0)
    const counts = { messages: 0, shortMessages: 0, generatedBits: 0, discardedBits: 0, stock: 0 }
    const ticks = Math.round((1000 * seconds) / tickMs)
    for (let i = 0; i < ticks; i++, this.#tick++) {
      const made = supply.step(tickMs)
      counts.generatedBits += made
      for (const [s, share] of this.#shares.entries()) {
        const full = (this.#stocks[s] ?? 0) + share * made
        this.#stocks[s] = Math.min(full, share * capBits)
        counts.discardedBits += full - (this.#stocks[s] ?? 0)
      }
      if (this.#tick % planEvery === 0) this.#plan(losses)
      this.#consume(deliveries, losses, counts)
      counts.stock += sum(this.#stocks)
    }
    return {
      fairness: fairnessOf(deliveries, startBits + counts.generatedBits),
      deliveries,
      lossPerS: losses.map((loss) => loss / seconds),
      socialPerS: sum(losses) / seconds,
      messages: counts.messages,
      shortMessages: counts.shortMessages,
      generatedBits: counts.generatedBits,
      discardedBits: counts.discardedBits,
      meanStockBits: counts.stock / ticks,
    }
  }

  #plan(losses: number[]): void {
    const { policy, supply, windowS, terms, bufferBits, reserveBits, riskRatio } = this.#options
    const { supplyBits, supplyStdBits } = supply.forecast(windowS)
    const stocks = this.#shares.map((share, s): ChanceInput => {
      const part = (bits: readonly number[]) => bits.map((each) => share * each)
      return {
        stockBits: this.#stocks[s] ?? 0,
        supplyBits: part(supplyBits),
        supplyStdBits: part(supplyStdBits),
        bufferBits: share * bufferBits,
        reserveBits: share * reserveBits,
        riskRatio,
      }
    })
    this.lastDecision = policy.decide({ agents: this.#views(), stocks, windowS, terms })
    for (const [a, { chains }] of this.#options.agents.entries()) {
      for (const [l, { switchLoss }] of chains.entries()) {
        const changed = this.lastDecision.states[a]?.[l] !== this.#states[a]?.[l]
        if (changed) losses[a] = (losses[a] ?? 0) + switchLoss
      }
    }
    this.#states = [...this.lastDecision.states]
  }

  #consume(
    deliveries: { deliveredBits: number; fullDemandBits: number }[],
    losses: number[],
    counts: { messages: number; shortMessages: number },
  ): void {
    const { agents, poisson, terms, tickMs } = this.#options
    const dtS = tickMs / 1000
    for (const [a, { chains }] of agents.entries()) {
      const delivery = deliveries[a]
      if (delivery === undefined) continue
      const s = this.#stocks.length > 1 ? a : 0
      for (const [l, chain] of chains.entries()) {
        const state = this.#states[a]?.[l] ?? 0
        if (state === 0) {
          const frequency = terms.lossPerHz * Math.abs(chain.frequencyHz)
          const local = a === 0 ? 0 : terms.lossPerPu * Math.abs(chain.voltagePu) + terms.lossPerMw * chain.loadMw
          losses[a] = (losses[a] ?? 0) + dtS * (chain.dropLoss + local)
          losses[0] = (losses[0] ?? 0) + dtS * frequency
        } else if (state === 1) losses[a] = (losses[a] ?? 0) + dtS * chain.degradeLoss
        const bits = state === 2 ? chain.otpBits : chain.aesBits
        for (let left = poisson(a, l, chain.ratePerS * dtS); left > 0; left--) {
          counts.messages++
          delivery.fullDemandBits += chain.otpBits
          if (state === 0) continue
          if ((this.#stocks[s] ?? 0) < bits) {
            counts.shortMessages++
            continue
          }
          this.#stocks[s] = (this.#stocks[s] ?? 0) - bits
          delivery.deliveredBits += bits
        }
      }
    }
  }

  #views() {
    return this.#options.agents.map(({ id, chains }, a) => ({ id, chains, states: this.#states[a] ?? [] }))
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
