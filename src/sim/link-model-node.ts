import type { LinkState, Node, Wake } from '../runtime/contract.ts'
import type { Disturbance, QkdLink } from './qkd-link.ts'

export type LinkModelInput =
  | { readonly kind: 'start'; readonly wallMs: number }
  /** A disturbance on top of the scenario's, such as a cut by hand. Ignored for a link that is not modelled. */
  | { readonly kind: 'disturb'; readonly link: number; readonly disturbance: Disturbance }
  /** Ends every disturbance of that kind that acts now, and with `cut` also a break: the link is mended. */
  | { readonly kind: 'mend'; readonly link: number; readonly disturbance: Disturbance['kind'] }
  /** The run is over: the links live on, so that what is under way arrives, but make no more key. */
  | { readonly kind: 'drain' }

export type LinkModelEffect =
  /** Both ends of the link have this many more bits of key. */
  | { readonly kind: 'generated'; readonly link: number; readonly bits: number }
  /** The link went up or down (the key server records that), or its delay or rate moved noticeably. */
  | { readonly kind: 'linkState'; readonly state: LinkState }

export type LinkModelOptions = { readonly links: readonly QkdLink[]; readonly tickMs?: number }

/** The QKD links of a lab, stepped every 100 ms of lab time. */
export class LinkModelNode implements Node<LinkModelInput, LinkModelEffect> {
  wakeAtMs: number | undefined
  readonly #links: readonly QkdLink[]
  readonly #tickMs: number
  #ticks = 0
  #drained = false

  constructor({ links, tickMs = 100 }: LinkModelOptions) {
    this.#links = links
    this.#tickMs = tickMs
  }

  handle(input: LinkModelInput | Wake, nowMs: number): readonly LinkModelEffect[] {
    switch (input.kind) {
      case 'start':
        this.wakeAtMs = this.#tickMs
        return []
      case 'disturb':
        this.#links.find(({ link }) => link === input.link)?.disturb(input.disturbance)
        return []
      case 'mend':
        this.#links.find(({ link }) => link === input.link)?.mend(input.disturbance)
        return []
      case 'drain':
        this.#drained = true
        return []
      case 'wake':
        return this.#tick(nowMs)
    }
  }

  /** A late wake makes up for every step it missed, so that a run's keys depend on the seed and the time alone. */
  #tick(nowMs: number): readonly LinkModelEffect[] {
    const effects: LinkModelEffect[] = []
    while ((this.#ticks + 1) * this.#tickMs <= nowMs) {
      this.#ticks++
      for (const link of this.#links) this.#step(link, effects)
    }
    this.wakeAtMs = (this.#ticks + 1) * this.#tickMs
    return effects
  }

  #step(model: QkdLink, effects: LinkModelEffect[]): void {
    const { link } = model
    const { up, rateBps, bits, delayMs, changed } = model.step(this.#tickMs)
    if (bits > 0 && !this.#drained) effects.push({ kind: 'generated', link, bits })
    if (changed) effects.push({ kind: 'linkState', state: { link, up, rateBps, delayMs } })
  }
}
