/** The timeline: what happened, newest first, with filters. */
import type { TimelineEntry, TimelineKind } from '../state.ts'
import { attribute, byId, el, keyed } from './dom.ts'
import { stamp } from './format.ts'

const KINDS: readonly TimelineKind[] = ['link', 'plan', 'grid', 'task', 'process', 'control']

export class EventsPanel {
  readonly #list = byId('events')
  readonly #filter = byId<HTMLInputElement>('event-filter')
  readonly #shown = new Set<TimelineKind>(KINDS)
  #events: readonly TimelineEntry[] = []
  /** The last entry that was read out. */
  #told = 0

  constructor() {
    this.#filter.addEventListener('input', () => this.#draw())
    byId('event-kinds').append(
      ...KINDS.map((kind) => {
        const button = el('button', { type: 'button', 'aria-pressed': 'true' }, kind)
        button.addEventListener('click', () => {
          if (!this.#shown.delete(kind)) this.#shown.add(kind)
          attribute(button, 'aria-pressed', String(this.#shown.has(kind)))
          this.#draw()
        })
        return button
      }),
    )
  }

  update(events: readonly TimelineEntry[]): void {
    this.#events = events
    const newest = events[0]?.seq ?? 0
    if (newest < this.#told) this.#told = 0
    const bad = events.find(({ seq, tone }) => seq > this.#told && tone === 'bad')
    if (bad !== undefined && this.#told > 0) byId('announcer').textContent = bad.text
    this.#told = newest
    this.#draw()
  }

  #draw(): void {
    const text = this.#filter.value.trim().toLowerCase()
    const shown = this.#events.filter(
      (entry) => this.#shown.has(entry.kind) && `${entry.text} ${entry.subject}`.toLowerCase().includes(text),
    )
    keyed(this.#list, shown, {
      key: ({ seq }) => String(seq),
      make: ({ tMs, kind, tone, text: words }) =>
        el(
          'li',
          { class: `event tone-${tone}` },
          el('span', { class: 'num at' }, stamp(tMs)),
          el('span', { class: 'kind' }, kind),
          el('span', { class: 'words' }, words),
        ),
      update: () => {},
    })
  }
}
