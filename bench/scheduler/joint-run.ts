/**
 * One run for the joint violation of the chance constraint: a lab in virtual time whose key is so short that the rows bind. The
 * rolling policy plans every tick for 12 to 16 s (`holdMs`). From then on the plan of that tick is carried out as it stands over its
 * whole horizon, which is what the chance constraint is about, or, for comparison, the policy goes on planning.
 */
import { readFileSync } from 'node:fs'
import { LabWorld, parseScenario, planOf } from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'
import {
  type Decision,
  judge,
  type Plan,
  type Policy,
  policyOf,
  type SchedulerView,
  type Solution,
  type Solver,
  solve,
} from '../../src/scheduler/index.ts'

export type JointJob = {
  readonly seed: number
  readonly held: boolean
  readonly risk: number
  readonly riskBound: string
}

export type JointResult = JointJob & {
  /** All but `protect`: the plan keeps the chance rows. */
  readonly mode: 'spare' | 'optimal' | 'reserve' | 'protect'
  /** A row has a price: with more key another plan would have been made. */
  readonly binds: boolean
  /** Stock less K_safe when the plan was made, and at the ends of its steps as planned and as it came, bits. */
  readonly beforeBits: number
  readonly plannedBits: readonly number[]
  readonly endBits: readonly number[]
  /** The least of it at any tick of the horizon. */
  readonly leastBits: number
}

const FILE = 'scenarios/ieee39.yaml'
export const HORIZON_MS = 10_000
/** When the plan is made that counts: anywhere in a period of secondary control (4 s), by the seed. */
const holdMs = (seed: number): number => 12_000 + 100 * ((7 * seed) % 40)
/** Work of a solve: plans need not be the best here, only keep the rows. */
const WORK = 50_000
/** Links make key for about two thirds of what all chains use in one-time pads. */
const RATE_PER_S = 950
/** What the channels' first fetch leaves of it lies near K_th. */
const INITIAL_BITS = 38_000

function textOf({ seed, risk, riskBound }: JointJob): string {
  return (
    readFileSync(FILE, 'utf8')
      .replace(
        'scheduler: { policy: greedy,',
        `scheduler: { policy: rolling, rolling: { risk: ${risk}, riskBound: ${riskBound}, gap: 0.02, workUnits: ${WORK} },`,
      )
      .replace('durationS: 60', `durationS: ${(holdMs(seed) + HORIZON_MS) / 1000 + 1}`)
      .replace('effectiveRatePerS: 2200', `effectiveRatePerS: ${RATE_PER_S}`)
      .replace('initialBits: 72000', `initialBits: ${INITIAL_BITS}`)
      // Channels that fetch little at once: their lots are no larger than a command, and soon out of step.
      .replace('thresholds: {', 'buffer: { lowBits: 256, highBits: 512 }\n  thresholds: {')
      // No step of load and no cut: what no forecast can know is what K_safe is for.
      .replace(/ {2}disturbances:\n(?: {4}.*\n)+/, '')
      .replace(/faults:\n(?: {2}.*\n?)+/, '')
  )
}

/** Carries out a job. */
export async function jointRun(job: JointJob): Promise<JointResult> {
  await cryptoReady
  const plan = planOf(parseScenario(textOf(job), FILE))
  const watched = new HeldPolicy(job, (solver) => policyOf(plan.scheduler, { solver }))
  new LabWorld(plan, job.seed, { policy: () => watched }).run()
  return { ...job, ...watched.result() }
}

class HeldPolicy implements Policy {
  readonly name = 'rolling'
  readonly #inner: Policy
  readonly #held: boolean
  readonly #holdMs: number
  #solution: Solution | undefined
  #start: { readonly view: SchedulerView; readonly plan: Plan } | undefined
  #outcome: Pick<JointResult, 'mode' | 'binds'> = { mode: 'protect', binds: false }
  #plannedBits: readonly number[] = []
  #leastBits = Number.POSITIVE_INFINITY
  readonly #endBits: number[] = []

  constructor({ held, seed }: JointJob, make: (solver: Solver) => Policy) {
    this.#held = held
    this.#holdMs = holdMs(seed)
    this.#inner = make((problem, rows, options) => {
      const answer = solve(problem, rows, options)
      if (answer.kind === 'plan' && !this.#isOn) {
        this.#solution = answer
        const { usedBits } = judge(problem, answer.plan)
        this.#plannedBits = [...problem.availableBits.map((bits, t) => bits - (usedBits[t] ?? 0))]
      }
      return answer
    })
  }

  plan(view: SchedulerView, nowMs: number): Plan {
    const sinceMs = nowMs - this.#holdMs
    if (sinceMs > 0) this.#note(view, sinceMs)
    if (this.#isOn && this.#held) return this.#step(view, sinceMs)
    if (!this.#isOn) this.#solution = undefined
    const plan = this.#inner.plan(view, nowMs)
    if (sinceMs >= 0 && !this.#isOn) {
      this.#start = { view, plan }
      const mode = plan.detail?.make().mode
      if (mode === undefined || mode === 'protect' || mode === 'waiting') this.#solution = undefined
      else this.#outcome = { mode, binds: this.#solution?.rowPrices.some((price) => price > 0) ?? false }
    }
    return plan
  }

  result(): Omit<JointResult, keyof JointJob> {
    const beforeBits = this.#start === undefined ? Number.NaN : marginOf(this.#start.view)
    return {
      ...this.#outcome,
      beforeBits,
      plannedBits: this.#plannedBits,
      endBits: this.#endBits,
      leastBits: this.#leastBits,
    }
  }

  get #isOn(): boolean {
    return this.#start !== undefined
  }

  #note(view: SchedulerView, sinceMs: number): void {
    if (sinceMs > HORIZON_MS) return
    const bits = marginOf(view)
    this.#leastBits = Math.min(this.#leastBits, bits)
    if (sinceMs % 1_000 === 0) this.#endBits.push(bits)
  }

  /** The options of the plan's step at this time; a chain's options are off, then AES and OTP of each path, as far as allowed. */
  #step(view: SchedulerView, sinceMs: number): Plan {
    const { plan, view: before } = this.#start ?? { plan: undefined, view }
    if (plan === undefined) throw new Error('no plan was made')
    const solution = this.#solution
    if (solution === undefined) return plan
    const steps = solution.rowPrices.length
    const t = Math.min(steps - 1, Math.floor((sinceMs * steps) / HORIZON_MS))
    const decisions = new Map<string, Decision>()
    for (const [l, { id, paths, allowedSuites }] of before.chains.entries()) {
      const options = paths.flatMap((_, path) =>
        ([1, 2] as const).flatMap((state) =>
          allowedSuites.includes(state === 1 ? 'aes' : 'otp') ? [{ state, path }] : [],
        ),
      )
      const taken = options[(solution.plan[l * steps + t] ?? 0) - 1]
      decisions.set(id, { state: taken?.state ?? 0, path: taken?.path ?? 0, pathUp: true, why: 'required suite' })
    }
    return { level: view.status.level, decisions }
  }
}

function marginOf({ status }: SchedulerView): number {
  return status.books.poolBits - status.safeBits
}
