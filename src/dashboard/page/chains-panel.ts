/** The table of chains: state, path, deadlines, key, why; with a filter and a switch each. */
import type { ChainView } from '../state.ts'
import { attribute, byId, el, keyed, setText } from './dom.ts'
import { bits, milliseconds, percent } from './format.ts'

const COLUMNS = ['Chain', 'State', 'Path', 'In time', 'Key spent', 'Latest', 'Why', ''] as const

export type ChainsOptions = {
  readonly control: (control: Readonly<Record<string, unknown>>) => void
  /** A chain's way is to be shown in the diagram; undefined: none. */
  readonly onChosen: (hops: readonly string[]) => void
}

export class ChainsPanel {
  readonly #options: ChainsOptions
  readonly #body: Element
  readonly #filter = byId<HTMLInputElement>('chain-filter')
  readonly #state = byId<HTMLSelectElement>('chain-state')
  #chains: readonly ChainView[] = []
  #chosen: string | undefined
  #canControl = false

  constructor(options: ChainsOptions) {
    this.#options = options
    const table = byId('chain-table')
    table
      .querySelector('thead')
      ?.append(
        el(
          'tr',
          {},
          ...COLUMNS.map((name) =>
            el(
              'th',
              { scope: 'col', class: name === '' ? 'actions' : '' },
              name === '' ? el('span', { class: 'sr' }, 'Switch') : name,
            ),
          ),
        ),
      )
    this.#body = table.querySelector('tbody') ?? table
    for (const input of [this.#filter, this.#state]) input.addEventListener('input', () => this.#draw())
  }

  setControl(canControl: boolean): void {
    this.#canControl = canControl
    this.#draw()
  }

  update(chains: readonly ChainView[]): void {
    this.#chains = chains
    this.#draw()
  }

  #draw(): void {
    const text = this.#filter.value.trim().toLowerCase()
    const state = this.#state.value
    const shown = this.#chains.filter((chain) => {
      const words = `${chain.id} ${chain.taskType} ${chain.hops.join(' ')} ${chain.why}`.toLowerCase()
      const fits = state === '' || (state === 'missed' ? chain.late + chain.failed > 0 : chain.state === state)
      return fits && words.includes(text)
    })
    const sorted = [...shown].sort((a, b) => a.priority - b.priority)
    setText(
      byId('chain-count'),
      shown.length === this.#chains.length ? `${shown.length}` : `${shown.length} of ${this.#chains.length}`,
    )
    keyed(this.#body, sorted, {
      key: ({ id }) => id,
      make: ({ id }) => this.#row(id),
      update: (row, chain) => this.#fill(row, chain),
    })
  }

  #row(id: string): Element {
    const name = el('button', { type: 'button', class: 'plain', 'aria-pressed': 'false' }, id)
    name.addEventListener('click', () => {
      this.#chosen = this.#chosen === id ? undefined : id
      this.#options.onChosen(this.#chains.find((chain) => chain.id === this.#chosen)?.hops ?? [])
      this.#draw()
    })
    const toggle = el('button', { type: 'button', class: 'control small' })
    toggle.addEventListener('click', () => {
      const enabled = this.#chains.find((chain) => chain.id === id)?.enabled === true
      this.#options.control({ kind: enabled ? 'disableChain' : 'enableChain', chain: id })
    })
    return el(
      'tr',
      {},
      el('th', { scope: 'row' }, name, el('span', { class: 'sub' })),
      el('td', {}, el('span', { class: 'pill' })),
      el('td', { class: 'path' }),
      el('td', { class: 'num' }),
      el('td', { class: 'num' }),
      el('td', { class: 'num' }),
      el('td', { class: 'why' }),
      el('td', { class: 'actions' }, toggle),
    )
  }

  #fill(row: Element, chain: ChainView): void {
    const [name, state, path, inTime, key, latest, why, actions] = row.children
    row.classList.toggle('marked', chain.id === this.#chosen)
    const button = name?.querySelector('button')
    if (button) attribute(button, 'aria-pressed', String(chain.id === this.#chosen))
    text(name?.querySelector('.sub'), `${chain.taskType}, priority ${chain.priority}`)
    const pill = state?.firstElementChild
    text(pill, { otp: 'OTP', aes: 'AES', off: 'off', unplanned: '\u2013' }[chain.state])
    if (pill) attribute(pill, 'data-tone', chain.enabled ? chain.state : 'hand')
    text(path, chain.hops.join(' \u203a '))
    path?.classList.toggle('detour', chain.path > 0)
    const ended = chain.inTime + chain.late + chain.failed
    text(inTime, ended === 0 ? '\u2013' : `${percent(chain.inTime, ended)} of ${ended}`)
    inTime?.classList.toggle('tone-bad', chain.late + chain.failed > 0)
    text(key, bits(chain.keyBits))
    text(latest, chain.lastLatencyMs === null ? '\u2013' : `${milliseconds(chain.lastLatencyMs)} ms`)
    text(why, chain.why)
    const toggle = actions?.querySelector('button')
    text(toggle, chain.enabled ? 'Disable' : 'Enable')
    if (toggle) {
      attribute(toggle, 'aria-label', `${chain.enabled ? 'Disable' : 'Enable'} chain ${chain.id}`)
      attribute(toggle, 'disabled', !this.#canControl)
    }
  }
}

function text(element: Element | null | undefined, value: string): void {
  if (element) setText(element, value)
}
