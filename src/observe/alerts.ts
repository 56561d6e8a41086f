/** What the alert rules look at, at one moment. */
export type AlertView = {
  /** Lab time, ms. */
  readonly tMs: number
  readonly stock?: { readonly bits: number; readonly safeBits: number; readonly booksBalanced: boolean }
  /** Deviation of the centre of inertia, Hz. */
  readonly deltaFHz?: number
  /** Links by name; one that is not there is not judged. */
  readonly linksUp: ReadonlyMap<string, boolean>
  /** Tasks so far: issued, and late or failed. */
  readonly tasks?: { readonly issued: number; readonly late: number }
}

/** An alert that begins or ends. `id` is the same for both and names the rule and what it is about. */
export type AlertNote = {
  readonly kind: 'raised' | 'cleared'
  readonly id: string
  readonly text: string
  readonly tMs: number
}

export type AlertLimits = {
  /** |df| above this raises, Hz. */
  readonly frequencyHz: number
  /** Share of late commands within `missWindowMs` above which an alert is raised, and how many there must be. */
  readonly missRatio: number
  readonly minMisses: number
  readonly missWindowMs: number
  /** How long a condition must hold before it is raised, and how long its end before it is cleared. */
  readonly raiseAfterMs: number
  readonly clearAfterMs: number
}

/** Of a raised alert's limit, so that a value that hovers at the limit is one alert. */
const HYSTERESIS = 0.1

type Verdict = { readonly id: string; readonly bad: boolean; readonly good: boolean; readonly text: string }
type State = { raised: boolean; sinceMs: number | undefined }

/**
 * Rules with hysteresis: each condition is raised once when it has held for a while and cleared once when it has been over for a
 * while. Pure: time comes with the views. What it names is bounded by the scenario's links.
 */
export class AlertBook {
  readonly #limits: AlertLimits
  readonly #states = new Map<string, State>()
  readonly #tasks: { tMs: number; issued: number; late: number }[] = []

  constructor(limits: AlertLimits) {
    this.#limits = limits
  }

  /** Alerts that are raised now. */
  get raised(): readonly string[] {
    return [...this.#states].flatMap(([id, { raised }]) => (raised ? [id] : []))
  }

  /** @returns alerts that begin or end with this view, in the order of the rules */
  take(view: AlertView): readonly AlertNote[] {
    return this.#verdicts(view).flatMap((verdict) => this.#judge(verdict, view.tMs))
  }

  #judge({ id, bad, good, text }: Verdict, tMs: number): readonly AlertNote[] {
    const state = this.#states.get(id) ?? { raised: false, sinceMs: undefined }
    this.#states.set(id, state)
    const turning = state.raised ? good : bad
    if (!turning) state.sinceMs = undefined
    else state.sinceMs ??= tMs
    const { raiseAfterMs, clearAfterMs } = this.#limits
    if (state.sinceMs === undefined || tMs - state.sinceMs < (state.raised ? clearAfterMs : raiseAfterMs)) return []
    state.raised = !state.raised
    state.sinceMs = undefined
    return [{ kind: state.raised ? 'raised' : 'cleared', id, text, tMs }]
  }

  #verdicts({ stock, deltaFHz, linksUp, tasks, tMs }: AlertView): readonly Verdict[] {
    const { frequencyHz } = this.#limits
    const verdicts: Verdict[] = []
    if (stock !== undefined) {
      const { bits, safeBits, booksBalanced } = stock
      verdicts.push({
        id: 'key stock',
        bad: bits < safeBits,
        good: bits >= safeBits * (1 + HYSTERESIS),
        text: `key stock ${kbit(bits)}, K_safe ${kbit(safeBits)}`,
      })
      const text = booksBalanced ? 'the books of the key pool balance' : 'the books of the key pool do not balance'
      verdicts.push({ id: 'key books', bad: !booksBalanced, good: booksBalanced, text })
    }
    if (deltaFHz !== undefined) {
      const size = Math.abs(deltaFHz)
      verdicts.push({
        id: 'frequency',
        bad: size > frequencyHz,
        good: size <= frequencyHz * (1 - HYSTERESIS),
        text: `frequency deviation ${deltaFHz.toFixed(3)} Hz, limit ${frequencyHz} Hz`,
      })
    }
    for (const [name, up] of linksUp)
      verdicts.push({ id: `link ${name}`, bad: !up, good: up, text: `link ${name} is ${up ? 'up' : 'down'}` })
    if (tasks !== undefined) verdicts.push(this.#misses(tasks, tMs))
    return verdicts
  }

  #misses({ issued, late }: { issued: number; late: number }, tMs: number): Verdict {
    const { missRatio, minMisses, missWindowMs } = this.#limits
    // One sample a second is enough, and bounds the window.
    const last = this.#tasks.at(-1)
    if (last === undefined || tMs - last.tMs >= 1_000) this.#tasks.push({ tMs, issued, late })
    while ((this.#tasks[1]?.tMs ?? tMs) <= tMs - missWindowMs) this.#tasks.shift()
    const first = this.#tasks[0] ?? { issued, late }
    // A master that was started again counts from 0.
    const misses = Math.max(0, late - first.late)
    const given = Math.max(0, issued - first.issued)
    const bad = misses >= minMisses && misses > given * missRatio
    const text = `${misses} of ${given} commands late within ${missWindowMs / 1000} s`
    return { id: 'deadlines', bad, good: misses === 0, text }
  }
}

const kbit = (bits: number): string => `${(bits / 1000).toFixed(1)} kbit`
