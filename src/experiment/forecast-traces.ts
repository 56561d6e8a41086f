/**
 * Key-stock traces for training and judging forecasts: the real link model of a plan, and traffic of its chains. Far faster than
 * a virtual lab (a hundred thousand steps a second), because messages cost their key and nothing else of them is modelled.
 */
import type { StockObservation } from '../forecast/index.ts'
import type { Suite } from '../runtime/contract.ts'
import { kappaBits, linkBetween, topology } from '../scheduler/index.ts'
import { BB84, QkdLink, type QkdLinkOptions, type Random, type RateModel, randomStream } from '../sim/index.ts'
import type { LabPlan } from './plan-types.ts'
import { numberOf } from './records.ts'
import { worldOf } from './world.ts'

/**
 * - `paper`: each chain a Poisson stream of constant rate, every message drawn from the pool at once (MODEL: (5)-(10)).
 * - `structured`: secondary control in bursts, set-points at switching rates with a slow cycle, shedding, bursts of what waited
 *   for a link that is mended; chains step down a suite as the stock falls below K_th and K_safe, with hysteresis.
 * - `channels`: the same through the buffers of the lab's channels, which fetch key in lots.
 */
export const TRACE_KINDS = ['structured', 'channels', 'paper'] as const
export type TraceKind = (typeof TRACE_KINDS)[number]

export type TraceOptions = {
  readonly kind: TraceKind
  readonly seed: number /** Which of the seed's traces. */
  readonly name: string
}

export const TRACE_STEP_MS = 100

type TraceChain = {
  readonly taskType: string
  readonly ratePerS: number
  readonly apduBytes: number
  readonly requiredSuite: Suite
  /** Links of its path that draw on the pool. */
  readonly links: readonly number[]
}

/** Rate of the switching traffic, of its mean, by state; its states last 20 s on average. */
const SWITCH_RATIOS: readonly number[] = [0.3, 1, 2.5]
const SWITCH_MEAN_S = 20
/** A raised suite waits this long after the last lowering, as the scheduler's dwell. */
const DWELL_STEPS = 20
const HYSTERESIS_RATIO = 0.05
/** A disturbance of the grid that sheds load, on average. */
const SHED_MEAN_S = 150
/** A command, its confirmation and its termination. */
const MESSAGES_A_COMMAND = 3

/** Traffic and links of one trace, step by step. The same plan and options give the same steps. */
export class StockTrace {
  readonly capBits: number
  readonly thBits: number
  readonly safeBits: number
  readonly kind: TraceKind
  readonly #random: Random
  readonly #links: readonly QkdLink[]
  readonly #linkUp = new Map<number, boolean>()
  readonly #chains: readonly TraceChain[]
  readonly #messagesPerRekey: number
  readonly #buffers = new Map<number, number>()
  readonly #buffer: { readonly lowBits: number; readonly highBits: number }
  /** Commands that wait for a link, by link. */
  readonly #waiting = new Map<number, TraceChain[]>()
  readonly #agcSteps: number
  readonly #agcPhase: number
  readonly #rateRatio: number
  readonly #cycle: { readonly steps: number; readonly phase: number; readonly depth: number }
  #switch = 1
  #stock: number
  #backlog = 0
  #step = 0
  #level = 2
  #loweredAt = -DWELL_STEPS
  #sheds: TraceChain[] = []

  /** @throws RangeError if the plan has no chain that draws on the pool */
  constructor(plan: LabPlan, { kind, seed, name }: TraceOptions) {
    const random = randomStream(seed, `trace ${kind} ${name}`)
    this.#random = random
    this.kind = kind
    const { pool, qkdLinks } = plan.keyserver
    this.capBits = pool.capBits
    this.thBits = pool.thBits
    this.safeBits = pool.safeBits
    this.#messagesPerRekey = plan.scheduler.messagesPerRekey
    this.#chains = chainsOf(plan)
    this.#buffer = { lowBits: 1024, highBits: 2048 }
    this.#agcSteps = Math.round(10 * (random.uniform() < 0.7 ? agcPeriodS(plan) : ([2, 5, 10][pick(random, 3)] ?? 4)))
    this.#agcPhase = pick(random, this.#agcSteps)
    this.#cycle = { steps: 3000 + pick(random, 15_000), phase: random.uniform(), depth: kind === 'paper' ? 0 : 0.5 }
    // Set-points from a quarter of the scenario's rate to four times it: the balance of bursts and of single commands.
    this.#rateRatio = kind === 'paper' ? 1 : 4 ** (2 * random.uniform() - 1)
    // Demand from three fifths of the supply to half more, so that traces are calm, short of key or in between.
    const demandRatio = kind === 'paper' ? 0.85 + 0.13 * random.uniform() : 0.6 + 0.9 * random.uniform()
    const scale = this.#meanDemandBps() / demandRatio / meanRateBps(qkdLinks)
    this.#links = qkdLinks.map(
      (link) => new QkdLink(scaled(link, scale), randomStream(seed, `trace ${name} qkd ${link.link}`)),
    )
    this.#stock = this.capBits * (kind === 'paper' ? 0.1 + 0.6 * random.uniform() : 0.1 + 0.9 * random.uniform())
  }

  /** One step on. */
  next(): StockObservation {
    this.#step++
    const links = this.#links.map((model) => {
      const { up, bits } = model.step(TRACE_STEP_MS)
      return { link: model.link, up, generatedBits: bits }
    })
    const generatedBits = links.reduce((sum, { generatedBits: bits }) => sum + bits, 0)
    this.#stock += generatedBits
    let consumedBits = this.#draw()
    this.#stock = Math.min(this.capBits, this.#stock)
    this.#traffic(links)
    consumedBits += this.#draw()
    this.#setLevel()
    return { tMs: this.#step * TRACE_STEP_MS, stockBits: this.#stock, generatedBits, consumedBits, links }
  }

  #draw(): number {
    const bits = Math.min(this.#backlog, this.#stock)
    this.#backlog -= bits
    this.#stock -= bits
    return bits
  }

  /** Level 2: all suites as required; 1: set-points in AES; 0: all but shedding. The paper's traffic stays as it is. */
  #setLevel(): void {
    if (this.kind === 'paper') return
    const bounds = [this.safeBits, this.thBits]
    while (this.#level > 0 && this.#stock < (bounds[this.#level - 1] ?? 0)) {
      this.#level--
      this.#loweredAt = this.#step
    }
    const rise = (bounds[this.#level] ?? Infinity) * (1 + HYSTERESIS_RATIO)
    if (this.#level < 2 && this.#stock >= rise && this.#step - this.#loweredAt >= DWELL_STEPS) this.#level++
  }

  #suiteOf({ taskType, requiredSuite }: TraceChain): Suite {
    if (taskType === 'shedding' || this.#level === 2) return requiredSuite
    return this.#level === 1 && taskType === 'agc' ? requiredSuite : 'aes'
  }

  #traffic(links: StockObservation['links']): void {
    for (const { link, up } of links) {
      if (up && this.#linkUp.get(link) === false) this.#release(link)
      this.#linkUp.set(link, up)
    }
    if (this.kind === 'paper') this.#poisson()
    else this.#structured()
  }

  #poisson(): void {
    for (const chain of this.#chains) {
      for (let n = this.#random.poisson((chain.ratePerS * TRACE_STEP_MS) / 1000); n > 0; n--) this.#message(chain)
    }
  }

  #structured(): void {
    const random = this.#random
    if (random.uniform() < TRACE_STEP_MS / 1000 / SWITCH_MEAN_S) this.#switch = pick(random, SWITCH_RATIOS.length)
    const { steps, phase, depth } = this.#cycle
    const cycle = 1 + depth * Math.sin(2 * Math.PI * (this.#step / steps + phase))
    const busy = (SWITCH_RATIOS[this.#switch] ?? 1) * cycle * this.#rateRatio
    const isBurst = this.#step % this.#agcSteps === this.#agcPhase
    for (const chain of this.#chains) {
      if (chain.taskType === 'agc') {
        if (isBurst) this.#command(chain)
      } else if (chain.taskType !== 'shedding') {
        const mean = ((chain.ratePerS / MESSAGES_A_COMMAND) * busy * TRACE_STEP_MS) / 1000
        for (let n = random.poisson(mean); n > 0; n--) this.#command(chain)
      }
    }
    if (random.uniform() < TRACE_STEP_MS / 1000 / SHED_MEAN_S)
      this.#sheds.push(...this.#chains.filter(({ taskType }) => taskType === 'shedding'))
    // Detection and the stations' answers spread a disturbance over some steps.
    this.#sheds = this.#sheds.filter((chain) => {
      if (random.uniform() < 0.5) return true
      this.#command(chain)
      return false
    })
  }

  /** A command with its answers, or its wait for a link that is down. */
  #command(chain: TraceChain): void {
    const down = chain.links.find((link) => this.#linkUp.get(link) === false)
    if (down === undefined) {
      for (let n = 0; n < MESSAGES_A_COMMAND; n++) this.#message(chain, n === 0 ? 0 : 1)
      return
    }
    const queue = this.#waiting.get(down) ?? []
    // A set-point takes the place of the one before it to the same machine.
    if (!queue.includes(chain)) queue.push(chain)
    this.#waiting.set(down, queue)
  }

  #release(link: number): void {
    const queue = this.#waiting.get(link) ?? []
    this.#waiting.delete(link)
    for (const chain of queue) this.#command(chain)
  }

  #message(chain: TraceChain, direction = 0): void {
    const bits = kappaBits(this.#suiteOf(chain), chain.apduBytes, this.#messagesPerRekey)
    for (const link of chain.links)
      this.#backlog += this.kind === 'channels' ? this.#fetch(2 * link + direction, bits) : bits
  }

  /** What a channel asks of the pool when a message takes `bits` of what it holds. */
  #fetch(channel: number, bits: number): number {
    const { lowBits, highBits } = this.#buffer
    const left = (this.#buffers.get(channel) ?? highBits) - bits
    const wanted = left < lowBits ? highBits - left : 0
    this.#buffers.set(channel, left + wanted)
    return wanted
  }

  #meanDemandBps(): number {
    const bps = this.#chains.reduce((sum, { taskType, ratePerS, apduBytes, requiredSuite, links }) => {
      const perMessage = kappaBits(requiredSuite, apduBytes, this.#messagesPerRekey) * links.length
      const ratio =
        this.kind === 'paper'
          ? 1
          : taskType === 'agc'
            ? (10 * agcNominalS(ratePerS)) / this.#agcSteps
            : this.#rateRatio * MEAN_SWITCH
      return sum + perMessage * ratePerS * ratio
    }, 0)
    if (!(bps > 0)) throw new RangeError('forecast traces: no chain of the scenario draws on the pool')
    return bps
  }
}

/**
 * What the key server of the plan's virtual lab sees, step by step: every message, buffer and scheduler as in a run. About a
 * hundred times slower than `StockTrace`. `cryptoReady` of protocol must have resolved.
 */
export function labObservations(plan: LabPlan, seed: number): readonly StockObservation[] {
  const pool = { ...plan.keyserver.pool, eventPeriodMs: TRACE_STEP_MS }
  const records = worldOf({ ...plan, seed, keyserver: { ...plan.keyserver, pool } }, seed).run()
  // The links once more, from the same streams: the pool's events do not say which link made what.
  const links = plan.keyserver.qkdLinks.map((link) => new QkdLink(link, randomStream(seed, `qkd ${link.link}`)))
  const observations: StockObservation[] = []
  let before: { readonly generated: number; readonly drawn: number } | undefined
  let step = 0
  for (const record of records) {
    if (record.name !== 'pool' || record.tMs > plan.durationS * 1000) continue
    const bits = (name: string): number => numberOf(record, name) ?? 0
    const now = { generated: bits('generatedBits'), drawn: bits('usedBits') + bits('reservedBits') }
    const atStep = Math.round(record.tMs / TRACE_STEP_MS)
    if (before !== undefined && atStep > step) {
      const made = links.map((link) => ({ link, step: link.step((atStep - step) * TRACE_STEP_MS) }))
      observations.push({
        tMs: record.tMs,
        stockBits: bits('poolBits'),
        generatedBits: now.generated - before.generated,
        consumedBits: now.drawn - before.drawn,
        links: made.map(({ link, step: { up, bits: made } }) => ({ link: link.link, up, generatedBits: made })),
      })
      step = atStep
    }
    before = now
  }
  return observations
}

const MEAN_SWITCH = SWITCH_RATIOS.reduce((sum, ratio) => sum + ratio, 0) / SWITCH_RATIOS.length

/** Period of a chain whose commands are periodic, s. */
function agcNominalS(ratePerS: number): number {
  return MESSAGES_A_COMMAND / ratePerS
}

function pick(random: Random, limit: number): number {
  return Math.floor(limit * random.uniform())
}

function chainsOf(plan: LabPlan): readonly TraceChain[] {
  return plan.nodes.flatMap((node) => {
    if (node.kind !== 'master') return []
    const table = topology(node.config.topology)
    return node.config.chains.map(({ chain }) => {
      const path = chain.paths[0] ?? []
      const links = path.slice(1).flatMap((to, i) => {
        const info = linkBetween(table, path[i] ?? '', to)
        return info?.pooled ? [info.link] : []
      })
      const { taskType, ratePerS, apduBytes, requiredSuite } = chain
      return { taskType, ratePerS, apduBytes, requiredSuite, links }
    })
  })
}

function agcPeriodS(plan: LabPlan): number {
  const agc = chainsOf(plan).find(({ taskType }) => taskType === 'agc')
  return agc === undefined || agc.ratePerS <= 0 ? 4 : agcNominalS(agc.ratePerS)
}

/** Rate of all links as they begin, on average over seeds near enough: breaks and drift apart. */
function meanRateBps(links: readonly QkdLinkOptions[]): number {
  const calm = { attenuationStdDbPerKm: 0, rateStdRatio: 0, breakRatePerS: 0, disturbances: [] }
  return links.reduce(
    (sum, link) => sum + new QkdLink({ ...link, ...calm }, randomStream(0, 'mean')).step(1000).rateBps,
    0,
  )
}

function scaled(link: QkdLinkOptions, ratio: number): QkdLinkOptions {
  const model = link.rateModel
  // The scenario's faults are one run's; traces have breaks by their law.
  const { disturbances: _faults, rateModel: _model, ...rest } = link
  return { ...rest, rateModel: scaledModel(model, ratio) }
}

function scaledModel(model: RateModel | undefined, ratio: number): RateModel {
  if (model === undefined) return { ...BB84, effectiveRatePerS: BB84.effectiveRatePerS * ratio }
  return model.kind === 'bb84'
    ? { ...model, effectiveRatePerS: model.effectiveRatePerS * ratio }
    : { ...model, clockHz: model.clockHz * ratio }
}
