/** The diagram of nodes and links, and the box of the link that is chosen. */
import { type Layout, layoutOf, type PlacedLink } from '../layout.ts'
import type { LabHead, LabState, LinkView } from '../state.ts'
import { attribute, el, keyed, setText, svg } from './dom.ts'
import { milliseconds, rate } from './format.ts'

export type TopologyOptions = {
  readonly host: HTMLElement
  readonly box: HTMLElement
  readonly legend: HTMLElement
  readonly control: (control: Readonly<Record<string, unknown>>) => void
}

export class TopologyPanel {
  readonly #options: TopologyOptions
  #head: LabHead | undefined
  #layout: Layout | undefined
  #links: readonly LinkView[] = []
  #chosen: string | undefined
  #marked: readonly string[] = []
  #canControl = false
  #box: LinkBox | undefined

  constructor(options: TopologyOptions) {
    this.#options = options
    new ResizeObserver(() => this.#relayout()).observe(options.host)
    options.legend.append(
      ...[
        ['up', 'up (width: key rate)'],
        ['wait', 'no session'],
        ['down', 'down'],
      ].map(([kind = '', text = '']) => el('span', { class: `key key-${kind}` }, text)),
    )
  }

  setHead(head: LabHead): void {
    this.#head = head
    this.#relayout()
  }

  setControl(canControl: boolean): void {
    this.#canControl = canControl
    this.#drawBox()
  }

  /** Shows the way of a chain. */
  mark(hops: readonly string[]): void {
    this.#marked = hops
    this.#draw()
  }

  update({ links, nodes }: Pick<LabState, 'links' | 'nodes'>): void {
    this.#links = links
    this.#draw()
    for (const node of nodes) {
      const element = this.#options.host.querySelector(`[data-node="${CSS.escape(node.id)}"]`)
      if (element !== null) element.classList.toggle('gone', !node.up)
    }
    this.#drawBox()
  }

  #relayout(): void {
    const width = Math.floor(this.#options.host.clientWidth)
    if (this.#head === undefined || width === 0 || this.#layout?.width === width) return
    this.#layout = layoutOf(this.#head, width)
    this.#build(this.#layout)
    this.#draw()
  }

  #build({ width, height, nodes, links }: Layout): void {
    const root = svg('svg', {
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: 'group',
      'aria-label': 'Nodes and links',
    })
    const isNarrow = width < 520
    const devices = new Map(nodes.map((node) => [node.id, node]))
    for (const link of links.filter(({ isStation }) => isStation)) root.append(this.#linkElement(link))
    for (const link of links.filter(({ isStation }) => !isStation)) root.append(this.#linkElement(link))
    for (const { id, kind, x, y, width: w, height: h } of nodes) {
      const group = svg('g', { class: `node node-${kind}`, 'data-node': id })
      group.append(svg('rect', { x, y, width: w, height: h, rx: kind === 'ied' ? h / 2 : 5 }))
      if (!isNarrow || kind !== 'ied') {
        group.append(svg('text', { x: x + w / 2, y: y + h / 2 + 4, 'text-anchor': 'middle' }, id))
      }
      group.append(svg('title', {}, devices.get(id)?.kind === 'ied' ? id : `${kind} ${id}`))
      root.append(group)
    }
    this.#options.host.replaceChildren(root)
  }

  #linkElement({ id, line, label, middle, isStation }: PlacedLink): SVGGElement {
    const group = svg('g', {
      class: `link${isStation ? ' station' : ''}`,
      'data-link': id,
      role: 'button',
      tabindex: 0,
    })
    group.append(svg('path', { class: 'halo', d: line }), svg('path', { class: 'line', d: line }))
    group.append(svg('path', { class: 'hit', d: line }))
    if (!isStation) {
      const place = { x: label.x, 'text-anchor': 'end' }
      group.append(svg('text', { class: 'label delay', ...place, y: label.y }))
      group.append(svg('text', { class: 'label rate', ...place, y: label.y + label.gap }))
    }
    const { x, y } = middle
    const cross = isStation ? '' : `M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10`
    group.append(svg('path', { class: 'cross', d: cross }))
    const choose = (): void => {
      this.#chosen = this.#chosen === id ? undefined : id
      this.#draw()
      this.#drawBox()
    }
    group.addEventListener('click', choose)
    group.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return
      event.preventDefault()
      choose()
    })
    return group
  }

  #draw(): void {
    const best = Math.max(1, ...this.#links.map(({ rateBps }) => rateBps ?? 0))
    const isNarrow = (this.#layout?.width ?? 0) < 520
    for (const link of this.#links) {
      const group = this.#options.host.querySelector(`[data-link="${CSS.escape(link.id)}"]`)
      if (group === null) continue
      const state = stateOf(link)
      for (const name of ['up', 'wait', 'down'] as const) group.classList.toggle(name, name === state)
      group.classList.toggle('chosen', link.id === this.#chosen)
      group.classList.toggle('marked', isOnWay(link, this.#marked))
      attribute(group, 'aria-label', wordsOf(link))
      attribute(group, 'aria-pressed', String(link.id === this.#chosen))
      const width = link.rateBps === null ? 1.5 : 1.5 + (2.5 * link.rateBps) / best
      const line = group.querySelector('.line')
      if (line !== null) attribute(line, 'stroke-width', width.toFixed(1))
      const [delay, key] = [group.querySelector('.delay'), group.querySelector('.rate')]
      if (delay !== null) setText(delay, delayOf(link))
      if (key !== null) setText(key, isNarrow || !link.up || link.rateBps === null ? '' : rate(link.rateBps))
    }
  }

  #drawBox(): void {
    const link = this.#links.find(({ id }) => id === this.#chosen)
    if (link === undefined) {
      this.#box = undefined
      const hint = 'Choose a link for its figures and controls.'
      if (this.#options.box.textContent !== hint) this.#options.box.replaceChildren(el('p', { class: 'muted' }, hint))
      return
    }
    if (this.#box?.id !== link.id) {
      this.#box = new LinkBox(link.id, this.#options.control)
      this.#options.box.replaceChildren(this.#box.root)
    }
    this.#box.update(link, this.#canControl)
  }
}

/** Figures and controls of one link. */
class LinkBox {
  readonly id: string
  readonly root = el('div', { class: 'link-card' })
  readonly #facts = el('dl', { class: 'facts' })
  readonly #cut = el('button', { type: 'button', class: 'control danger', 'data-action': 'cut' }, 'Cut link')
  readonly #restore = el('button', { type: 'button', class: 'control', 'data-action': 'restore' }, 'Restore')
  readonly #loss = el('input', { type: 'number', min: 0, max: 100, step: 0.5, value: 0 })
  readonly #form: HTMLFormElement

  constructor(id: string, control: TopologyOptions['control']) {
    this.id = id
    this.#cut.addEventListener('click', () => control({ kind: 'cutLink', link: id }))
    this.#restore.addEventListener('click', () => control({ kind: 'restoreLink', link: id }))
    const set = el('button', { type: 'submit', class: 'control' }, 'Set')
    this.#form = el('form', { class: 'row-form' }, el('label', {}, 'Added loss, dB ', this.#loss), set)
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      control({ kind: 'attenuateLink', link: id, addedDb: Number(this.#loss.value) })
    })
    const buttons = el('div', { class: 'row-form' }, this.#cut, this.#restore, this.#form)
    this.root.append(el('h3', {}, id), this.#facts, buttons)
  }

  update(link: LinkView, canControl: boolean): void {
    const facts: readonly (readonly [string, string])[] = [
      ['state', link.up ? 'up' : link.cut ? 'cut by hand' : 'down'],
      ['session', link.session],
      ['delay', `${milliseconds(link.delayMs)} ms`],
      ['key rate', link.rateBps === null ? 'keys of its own' : rate(link.rateBps)],
      ['length', `${link.lengthKm} km`],
      ['added loss', `${link.addedDb} dB`],
    ]
    keyed(this.#facts, facts, {
      key: ([name]) => name,
      make: ([name]) => el('div', {}, el('dt', {}, name), el('dd', { class: 'num' })),
      update: (element, [, value]) => setText(element.lastElementChild ?? element, value),
    })
    this.#cut.disabled = !canControl || link.cut
    this.#restore.disabled = !canControl || (link.up && !link.cut)
    this.#form.hidden = link.rateBps === null
    for (const input of this.#form.elements) attribute(input, 'disabled', !canControl)
  }
}

function stateOf({ up, session }: LinkView): 'up' | 'wait' | 'down' {
  if (!up) return 'down'
  return session === 'down' ? 'wait' : 'up'
}

function isOnWay({ ends: [a, b] }: LinkView, hops: readonly string[]): boolean {
  const at = hops.indexOf(a)
  return at >= 0 && (hops[at + 1] === b || hops[at - 1] === b)
}

function delayOf(link: LinkView): string {
  if (!link.up) return link.cut ? 'cut' : 'down'
  return `${milliseconds(link.delayMs)} ms`
}

function wordsOf(link: LinkView): string {
  const key = link.rateBps === null ? '' : `, key ${rate(link.rateBps)}`
  const session = link.session === 'down' ? ', no session' : ''
  return `Link ${link.id}, ${link.up ? 'up' : 'down'}${session}, delay ${milliseconds(link.delayMs)} ms${key}`
}
