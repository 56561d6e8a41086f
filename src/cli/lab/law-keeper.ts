import type { LabNetwork } from '../../../netns/index.ts'
import type { PlanLink } from '../../experiment/index.ts'
import type { LinkState } from '../../runtime/contract.ts'
import { type LinkLaw, lawInState } from '../../sim/index.ts'

/** Where the links' laws are applied: by the kernel's netem, or by the sending processes. */
export type Impairment = 'netem' | 'transport'

/**
 * Keeps every link's law as the model of the QKD links says (delay, breaks), while the lab runs.
 * With netem, changes that come while a change is being made are put together.
 */
export class LawKeeper {
  readonly #links: ReadonlyMap<number, PlanLink>
  readonly #states = new Map<number, LinkState>()
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

  /** The laws at the start. @throws LabError if the kernel refuses one. */
  async begin(): Promise<void> {
    await this.#network?.setLaws(new Map([...this.#links.values()].map(({ link, law }) => [link, law])))
  }

  take(state: LinkState): void {
    const link = this.#links.get(state.link)
    if (link === undefined) return
    this.#states.set(state.link, state)
    this.#apply(link, lawInState(link.law, state))
  }

  /** A process was started again: tells it how its links are now. */
  repeat(node: string): void {
    for (const state of this.#states.values()) {
      if (this.#links.get(state.link)?.ends.includes(node)) this.take(state)
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
