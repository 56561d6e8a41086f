import type { Forecaster, StockForecast } from '../../forecast/index.ts'
import type { PoolStatus } from '../../runtime/contract.ts'
import type { Chain, ChainState } from '../chain.ts'
import type { Decision, Plan, Policy, SchedulerView, StockOutlook, Why } from '../policy.ts'
import { stateOfSuite } from '../policy.ts'
import type { Limit } from './budget.ts'
import type { ChainOption } from './chain-options.ts'
import type { PlanDetail } from './detail.ts'
import { atSteps, detailOf, waitingDetail } from './detail-of.ts'
import { isBetterOff } from './deviation-detail.ts'
import type { Responses } from './deviations.ts'
import { type Judgement, judge, type LinearRows, type OptionPlan, type RollingProblem, tangentRows } from './problem.ts'
import { protectPlan } from './protect.ts'
import { Allocation, quantilesOf, type RiskBound } from './quantile.ts'
import type { NoPlan, Solution, SolveOptions, WarmStart } from './solve.ts'
import { solve } from './solve.ts'
import { StockWatch } from './stock-watch.ts'
import { type EndRow, type Horizon, problemOf, spreadOf, type Work, Workplace } from './tick-problem.ts'

/** A solver of the problem with linear rows; `solve`, or another one. */
export type Solver = (problem: RollingProblem, rows: LinearRows, options: SolveOptions) => Solution | NoPlan

export type RollingOptions = {
  /** Makes the forecaster when the pool's levels are known. */
  readonly forecaster: (levels: {
    readonly capBits: number
    readonly thBits: number
    readonly safeBits: number
  }) => Forecaster
  /** Length of a forecast's step: the tick of the scheduler, ms. */
  readonly tickMs: number
  readonly horizonS: number
  /** Steps into which the horizon is divided. */
  readonly steps: number
  /** Probability with which the key may run short within a horizon. */
  readonly risk: number
  readonly riskBound: RiskBound
  /** What the solves of a tick may take. */
  readonly limit: Limit
  /** Gap at which a plan is good enough. */
  readonly gap: number
  /** In protect mode chains with this priority or a more urgent one keep their required suite. */
  readonly protectedPriority: number
  readonly messagesPerRekey: number
  /** How the chains move frequency and voltages, and what it costs; none: they do not count. */
  readonly responses?: Responses
  readonly solver?: Solver
}

/** The band of the forecast is one-sided, at 95 %. */
const BAND_Z = 1.6448536269514722
/** Errors kept for the empirical quantile. */
const ERRORS_KEPT = 2_000
/** A solve is always given this much, ms: enough to find a plan of some hundred chains. */
const LEAST_LIMIT_MS = 2
type Solved = 'spare' | 'optimal' | 'reserve'

const NO_VOLTAGES: ReadonlyMap<number, number> = new Map()
const NO_RESERVE: EndRow = { kind: 'mean', reserveBits: 0 }
/** Ticks between two details while the plan stays as it is. */
const DETAIL_TICKS = 10

/**
 * Rolling horizon: each tick the forecast of the key stock, then the least costly plan for the next `horizonS` that keeps the
 * cumulative chance rows, of which the first step is carried out. The stock at the end shall be K_th, or what it is now if
 * that is less; K_safe is never touched. If no plan can keep the end, the end is given up; if none can keep K_safe, only
 * the most urgent chains are served (protect mode).
 */
export class RollingPolicy implements Policy {
  readonly name = 'rolling'
  readonly #options: RollingOptions
  readonly #watch: StockWatch
  readonly #workplace: Workplace
  readonly #errors: number[] = []
  #forecaster: Forecaster | undefined
  #expected: { readonly stockBits: number; readonly sdBits: number } | undefined
  #decisions: ReadonlyMap<string, Decision> = new Map()
  #warm: { readonly chains: readonly Chain[]; readonly start: WarmStart } | undefined
  /** Key the chains use in a step of the horizon by the present plan: mean, and variance. */
  #planned = { bits: 0, variance2: 0 }
  readonly #allocation: Allocation
  #ticks = 0

  constructor(options: RollingOptions) {
    this.#options = options
    this.#watch = new StockWatch(options.tickMs)
    this.#allocation = new Allocation(options.steps)
    this.#workplace = new Workplace(options.messagesPerRekey)
  }

  plan(view: SchedulerView, _nowMs: number): Plan {
    const plan = view.status.capBits > 0 ? this.#solved(view) : this.#waiting(view)
    this.#decisions = plan.decisions
    this.#ticks++
    return plan
  }

  #waiting(view: SchedulerView): Plan {
    const decisions = new Map(
      view.chains.map((chain) => {
        const state = stateOfSuite(chain.requiredSuite)
        return [chain.id, { state, path: 0, pathUp: true, why: 'required suite' } satisfies Decision] as const
      }),
    )
    return { level: view.status.level, decisions, ...this.#withDetail(waitingDetail) }
  }

  #solved(view: SchedulerView): Plan {
    const forecast = this.#observe(view)
    const horizon = this.#horizonOf(view, forecast)
    const work = this.#workplace.prepare(view, this.#decisions)
    const limits = limitsOf(this.#options.limit)
    for (const [mode, end] of endsOf(view.status)) {
      const problem = problemOf(work, { ...horizon, end }, this.#options.responses)
      if (mode === 'spare' && !hasSpare(work, problem)) continue
      const rows = tangentRows(problem, spreadOf(problem))
      const answer = (this.#options.solver ?? solve)(problem, rows, {
        limit: limits(),
        gap: this.#options.gap,
        ...this.#warmFor(view.chains, problem),
      })
      if (answer.kind === 'none') continue
      const offs = offsOf(work, problem, answer)
      if (offs.some(({ aes, isBetter }) => aes !== undefined && !isBetter)) continue
      this.#warm = { chains: view.chains, start: answer.warm }
      const judged = judge(problem, answer.plan)
      this.#allocation.note(answer.rowPrices, spreadsOf(problem, judged))
      this.#planned = { bits: judged.usedBits[0] ?? 0, variance2: judged.variance2[0] ?? 0 }
      const better = new Set(offs.flatMap(({ chain, isBetter }) => (isBetter ? [chain] : [])))
      const decisions = this.#decisionsOf(view, work.options, { plan: answer.plan, steps: problem.steps, better })
      const facts = { mode, forecast, horizon, problem, answer, judged, work }
      const outlook = this.#outlookOf(view, forecast)
      return { level: view.status.level, decisions, outlook, ...this.#withDetail(() => detailOf(facts)) }
    }
    return this.#protected(view, forecast, horizon)
  }

  #protected(view: SchedulerView, forecast: StockForecast, horizon: Horizon): Plan {
    const decisions = protectPlan(view, { before: this.#decisions, protectedPriority: this.#options.protectedPriority })
    this.#warm = undefined
    const detail = (): PlanDetail => ({
      ...waitingDetail(),
      mode: 'protect',
      forecast: forecast.source,
      stepMs: horizon.stepMs,
      stockBits: view.status.books.poolBits,
      supplyBits: [...horizon.supplyBits],
      otherBits: horizon.otherBits,
    })
    return { level: 'protect', decisions, outlook: this.#outlookOf(view, forecast), ...this.#withDetail(detail) }
  }

  /** Details cost as much as a small solve, so they are made when they will be written: now and then. */
  #withDetail(make: () => PlanDetail): Pick<Plan, 'detail'> {
    return { detail: { every: this.#ticks % DETAIL_TICKS === 0, make } }
  }

  /** The forecast at the ends of the horizon's steps. */
  #outlookOf({ status }: SchedulerView, { source, stockBits, stockLowerBits }: StockForecast): StockOutlook {
    const { horizonS, steps } = this.#options
    return {
      source,
      tMs: status.tMs,
      stepMs: (horizonS * 1000) / steps,
      stockBits: atSteps(stockBits, steps),
      stockLowerBits: atSteps(stockLowerBits, steps),
    }
  }

  /** Shows the forecaster what has come, and asks it. */
  #observe(view: SchedulerView): StockForecast {
    const { status } = view
    const { capBits, thBits, safeBits } = status
    this.#forecaster ??= this.#options.forecaster({ capBits, thBits, safeBits })
    const { tickMs, horizonS, steps } = this.#options
    const ticks = (horizonS * 1000) / steps / tickMs
    const { bits, variance2 } = this.#planned
    for (const observation of this.#watch.take(status, { bits: bits / ticks, variance2: variance2 / ticks })) {
      this.#noteError(observation.stockBits)
      this.#forecaster.observe(observation)
    }
    const forecast = this.#forecaster.forecast(Math.round((horizonS * 1000) / tickMs))
    const mean = forecast.stockBits[0] ?? status.books.poolBits
    this.#expected = { stockBits: mean, sdBits: (mean - (forecast.stockLowerBits[0] ?? mean)) / BAND_Z }
    return forecast
  }

  #noteError(stockBits: number): void {
    if (this.#options.riskBound !== 'empirical' || this.#expected === undefined || !(this.#expected.sdBits > 0)) return
    this.#errors.push((this.#expected.stockBits - stockBits) / this.#expected.sdBits)
    if (this.#errors.length > ERRORS_KEPT) this.#errors.shift()
  }

  #horizonOf({ status, deltaFHz, voltagesPu = NO_VOLTAGES }: SchedulerView, forecast: StockForecast): Horizon {
    const { steps, horizonS, tickMs, risk, riskBound } = this.#options
    const stepMs = (horizonS * 1000) / steps
    const ticks = stepMs / tickMs
    const supplyBits = new Float64Array(steps)
    const supplySdBits = new Float64Array(steps)
    const otherSdBits = new Float64Array(steps)
    for (let t = 0; t < steps; t++) {
      const [from, to] = [Math.round(t * ticks), Math.round((t + 1) * ticks)]
      for (let i = from; i < to; i++) supplyBits[t] = (supplyBits[t] ?? 0) + (forecast.supplyBits[i] ?? 0)
      supplySdBits[t] = forecast.supplySdBits[to - 1] ?? 0
      otherSdBits[t] = Math.sqrt(this.#watch.otherVariance2(to))
    }
    return {
      tickMs,
      stepMs,
      stockBits: status.books.poolBits,
      bufferBits: status.safeBits,
      supplyBits,
      supplySdBits,
      otherSdBits,
      otherBits: this.#watch.otherBits * ticks,
      z: quantilesOf({ bound: riskBound, risk, steps, errors: this.#errors, shares: this.#allocation.shares }),
      deltaFHz,
      voltagesPu,
      end: NO_RESERVE,
    }
  }

  #warmFor(chains: readonly Chain[], problem: RollingProblem): { readonly warm?: WarmStart } {
    const warm = this.#warm
    if (warm === undefined || warm.chains !== chains) return {}
    return warm.start.plan.length === problem.chains * problem.steps ? { warm: warm.start } : {}
  }

  #decisionsOf(
    view: SchedulerView,
    options: readonly (readonly ChainOption[])[],
    { plan, steps, better }: { readonly plan: OptionPlan; readonly steps: number; readonly better: ReadonlySet<Chain> },
  ): Map<string, Decision> {
    return new Map(
      view.chains.map((chain, l) => {
        const taken = options[l]?.[plan[l * steps] ?? 0]
        const last = this.#decisions.get(chain.id)
        const state: ChainState = taken?.suite === undefined ? 0 : stateOfSuite(taken.suite)
        const path = taken?.suite === undefined ? (last?.path ?? 0) : taken.path
        const pathUp = this.#workplace.hasPath(chain)
        const why = better.has(chain) ? 'off: frequency and voltages are better without it' : whyOf(chain, state)
        return [chain.id, { state, path, pathUp, why }] as const
      }),
    )
  }
}

/** What is left of a tick's limit for its next solve. Work is the same for each, so that the same views give the same plans. */
function limitsOf(limit: Limit): () => Limit {
  if (limit.kind === 'work') return () => limit
  const endMs = limit.now() + limit.limitMs
  return () => ({ ...limit, limitMs: Math.max(LEAST_LIMIT_MS, endMs - limit.now()) })
}

/** A chain that is off in the first step. */
type Off = {
  readonly chain: Chain
  /**
   * Its option in AES, if it may use that. To be off saves next to no key then: rows that ask for it cannot be kept, and a message more in
   * AES is less harm than a chain that is off. Unless it is off because the grid is better without what it does.
   */
  readonly aes: number | undefined
  readonly isBetter: boolean
}

function offsOf(
  { chains, options, usable }: Work,
  problem: RollingProblem,
  { plan, objective }: Solution,
): readonly Off[] {
  return chains.flatMap((chain, l) => {
    if (options[l]?.[plan[l * problem.steps] ?? 0]?.suite !== undefined) return []
    const best = (wanted: (suite: string) => boolean) =>
      (options[l] ?? []).findIndex(({ suite }, m) => suite !== undefined && wanted(suite) && usable[l]?.[m] === true)
    const aes = best((suite) => suite === 'aes')
    const on = aes === -1 ? best(() => true) : aes
    const isBetter = on !== -1 && isBetterOff(problem, plan, { chain: l, option: on, objective })
    return [{ chain, aes: aes === -1 ? undefined : aes, isBetter }]
  })
}

/** What is asked of the end, the most first. */
function endsOf({ level, thBits, safeBits, books }: PoolStatus): readonly (readonly [Solved, EndRow])[] {
  const mean = Math.max(0, Math.min(thBits, books.poolBits) - safeBits)
  const spare: readonly [Solved, EndRow] = ['spare', { kind: 'spare', reserveBits: thBits - safeBits }]
  return [
    ...(level === 'normal' ? [spare] : []),
    ['optimal', { kind: 'mean', reserveBits: mean }],
    ['reserve', NO_RESERVE],
  ]
}

/** Some chain might have a better suite than it needs, and the rows hold with all chains in the required one. */
function hasSpare({ chains, options }: Work, problem: RollingProblem): boolean {
  const { steps } = problem
  if (!options.some((list) => list.some(({ costPerS, spareCostPerS }) => costPerS !== spareCostPerS))) return false
  const plan = new Int32Array(problem.chains * steps)
  for (const [l, { requiredSuite }] of chains.entries()) {
    const first = problem.optionStart[l] ?? 0
    const isOpen = (m: number) => (problem.cost[(first + m) * steps] ?? 0) < Number.POSITIVE_INFINITY
    const required = (options[l] ?? []).findIndex(({ suite }, m) => suite === requiredSuite && isOpen(m))
    if (required === -1) return false
    plan.fill(required, l * steps, (l + 1) * steps)
  }
  return judge(problem, plan).slackBits.every((bits) => bits >= 0)
}

/** Standard deviation that each row has by a plan, bits. */
function spreadsOf({ supplySdBits }: RollingProblem, { variance2 }: Judgement): Float64Array {
  return variance2.map((variance, t) => Math.sqrt((supplySdBits[t] ?? 0) ** 2 + variance))
}

function whyOf(chain: Chain, state: ChainState): Why {
  const required = stateOfSuite(chain.requiredSuite)
  if (state === required) return 'required suite'
  if (state > required) return 'better than required: key to spare'
  return state === 1 ? 'AES: key is worth more elsewhere' : 'off: key is worth more elsewhere'
}
