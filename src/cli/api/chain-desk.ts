/** The chains of a running lab, as the REST interface changes them: one change at a time, whole or not at all. */
import {
  type ChainProblem,
  chainEntriesOf,
  chainSetsOf,
  type Scenario,
  type ScenarioChain,
  withChains,
} from '../../experiment/index.ts'
import type { ChainSet } from '../../master/index.ts'

export type ChainResult =
  | { readonly kind: 'ok' }
  | { readonly kind: 'refused'; readonly status: 400 | 404 | 409; readonly problems: readonly ChainProblem[] }

/** What became of a change, for the record. */
export type ChainChange = { readonly text: string; readonly subject: string; readonly scenario: Scenario }

export type ChainDeskOptions = {
  readonly scenario: Scenario
  /** Hands its whole set to a master; gives what is wrong with it, or undefined when it is in use. */
  readonly apply: (master: string, set: ChainSet) => Promise<string | undefined>
  readonly onChange: (change: ChainChange) => void
}

export class ChainDesk {
  readonly #options: ChainDeskOptions
  #scenario: Scenario
  #entries: readonly ScenarioChain[]
  #hasChanged = false
  /** The change under way; the next one waits for it. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: ChainDeskOptions) {
    this.#options = options
    this.#scenario = options.scenario
    this.#entries = chainEntriesOf(options.scenario)
  }

  /** The scenario with the chains as they are now. */
  get scenario(): Scenario {
    return this.#scenario
  }

  list(): readonly ScenarioChain[] {
    return this.#entries
  }

  /** The set that a master must be given when it starts again; undefined while it is the scenario's. */
  changedSet(master: string): ChainSet | undefined {
    return this.#hasChanged ? chainSetsOf(this.#scenario).get(master) : undefined
  }

  put(id: string, body: unknown): Promise<ChainResult> {
    return this.#inTurn(() => {
      const given = idOf(body)
      if (given !== undefined && given !== id) {
        return refused(400, { place: 'id', message: 'another id', found: given.slice(0, 80), expected: id })
      }
      const index = this.#entries.findIndex((entry) => entry.id === id)
      const entry = typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body, id } : body
      const entries = index < 0 ? [...this.#entries, entry] : this.#entries.with(index, entry as ScenarioChain)
      const prefix = ['chains', index < 0 ? this.#entries.length : index]
      return this.#change(entries, { text: `chain ${id} ${index < 0 ? 'added' : 'changed'}`, subject: id, prefix })
    })
  }

  remove(id: string): Promise<ChainResult> {
    return this.#inTurn(() => {
      const entries = this.#entries.filter((entry) => entry.id !== id)
      if (entries.length === this.#entries.length) {
        const expected = 'the id of a chain of GET /api/v1/chains'
        return refused(404, { place: 'id', message: 'no such chain', found: id.slice(0, 80), expected })
      }
      return this.#change(entries, { text: `chain ${id} taken away`, subject: id, prefix: ['chains'] })
    })
  }

  replaceAll(body: unknown): Promise<ChainResult> {
    return this.#inTurn(() => {
      const chains = typeof body === 'object' && body !== null && 'chains' in body ? body.chains : undefined
      if (!Array.isArray(chains)) {
        return refused(400, {
          place: 'chains',
          message: 'wrong type',
          found: typeof chains,
          expected: 'a list of chains',
        })
      }
      return this.#change(chains, { text: `${chains.length} chains set`, subject: '', prefix: ['chains'] })
    })
  }

  async #change(
    entries: readonly unknown[],
    { text, subject, prefix }: { text: string; subject: string; prefix: readonly (string | number)[] },
  ): Promise<ChainResult> {
    const checked = withChains(this.#scenario, entries, prefix)
    if (checked.kind === 'refused') return { kind: 'refused', status: 400, problems: checked.problems }
    const { scenario } = checked
    const problem = await this.#apply(scenario)
    if (problem !== undefined) {
      return refused(409, {
        place: 'chain',
        message: 'refused by the master',
        found: problem,
        expected: 'chains it can run',
      })
    }
    this.#scenario = scenario
    this.#entries = chainEntriesOf(scenario)
    this.#hasChanged = true
    this.#options.onChange({ text, subject, scenario })
    return { kind: 'ok' }
  }

  /** Every master takes its set, or none does. */
  async #apply(scenario: Scenario): Promise<string | undefined> {
    const before = chainSetsOf(this.#scenario)
    const done: string[] = []
    for (const [master, set] of chainSetsOf(scenario)) {
      const problem = await this.#options.apply(master, set)
      if (problem === undefined) done.push(master)
      else {
        for (const id of done) {
          const old = before.get(id)
          if (old !== undefined) await this.#options.apply(id, old)
        }
        return problem
      }
    }
    return undefined
  }

  #inTurn(change: () => ChainResult | Promise<ChainResult>): Promise<ChainResult> {
    const result = this.#turn.then(change)
    this.#turn = result.catch(() => {})
    return result
  }
}

function idOf(body: unknown): string | undefined {
  return typeof body === 'object' && body !== null && 'id' in body ? String(body.id) : undefined
}

function refused(status: 400 | 404 | 409, problem: ChainProblem): ChainResult {
  return { kind: 'refused', status, problems: [problem] }
}
