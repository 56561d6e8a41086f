import type { LabNetwork } from '../../../netns/index.ts'
import type { PlanLink } from '../../experiment/index.ts'
import type { LinkState } from '../../runtime/contract.ts'
import { type LinkLaw, lawInState } from '../../sim/index.ts'
import { CliError } from '../errors.ts'
import type { LabLink } from '../netlab/control.ts'
import { bentLaw, joinedWords } from '../netlab/law-words.ts'

/** Where the links' laws are applied: by the kernel's netem, or by the sending processes. */
export type Impairment = 'netem' | 'transport'

/**
 * Keeps every link's law as the model of the QKD links says (delay, breaks), while the lab runs.
 * With netem, changes that come while a change is being made are put together.
 */
export class LawKeeper {
  readonly #links: ReadonlyMap<number, PlanLink>
  readonly #states = new Map<number, LinkState>()
  /** Words by which a user has bent a link's law (`q104 link`), on top of what the model says. */
  readonly #bent = new Map<number, readonly string[]>()
  readonly #apply: (link: PlanLink, law: LinkLaw) => void
  readonly #network: LabNetwork | undefined
  #due = new Map<number, LinkLaw>()
  #busy: Promise<void> | undefined

  /** @param network applies the laws by netem if given; else `tell` hands a law to the processes at a link's ends */
  constructor(
    links: readonly PlanLink[],
    tell: (node: string, link: number, law: LinkLaw) => void,
    network?: LabNetwork,
  ) {
    this.#links = new Map(links.map((link) => [link.link, link]))
    this.#network = network
    this.#apply = (link, law) => {
      if (this.#network !== undefined) this.#applyByNetem(link.link, law)
      else for (const node of link.ends) tell(node, link.link, law)
    }
  }

  take(state: LinkState): void {
    const link = this.#links.get(state.link)
    if (link === undefined) return
    this.#states.set(state.link, state)
    this.#apply(link, this.#lawOf(link))
  }

  /** Bends a link until words say `default`. @throws CliError naming what is wrong */
  bend(number: number, words: readonly string[]): void {
    const link = this.#links.get(number)
    if (link === undefined) throw new CliError(`there is no link ${number}`)
    const joined = joinedWords(this.#bent.get(number) ?? [], words)
    const law = this.#lawOf(link, joined)
    this.#bent.set(number, joined)
    this.#apply(link, law)
  }

  /** The links and their laws at this moment. */
  links(): readonly LabLink[] {
    return [...this.#links.values()].map((link) => {
      const { ends } = link
      return { link: link.link, name: ends.join('-'), ends, law: this.#lawOf(link), usualLaw: this.#lawOf(link, []) }
    })
  }

  #lawOf(link: PlanLink, words: readonly string[] = this.#bent.get(link.link) ?? []): LinkLaw {
    const state = this.#states.get(link.link)
    const law = state === undefined ? link.law : lawInState(link.law, state)
    return bentLaw(law, words, law)
  }

  /** A process was started again: tells it how its links are now. */
  repeat(node: string): void {
    for (const link of this.#links.values()) {
      const isUsual = !this.#states.has(link.link) && !this.#bent.has(link.link)
      if (link.ends.includes(node) && !isUsual) this.#apply(link, this.#lawOf(link))
    }
  }

  #applyByNetem(link: number, law: LinkLaw): void {
    this.#due.set(link, law)
    this.#busy ??= this.#work().finally(() => {
      this.#busy = undefined
    })
  }

  async #work(): Promise<void> {
    while (this.#due.size > 0) {
      const laws = this.#due
      this.#due = new Map()
      await this.#network?.setLaws(laws)
    }
  }
}
