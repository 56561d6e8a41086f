/** Where commands spend their time: key wait, queue, wire, breaker; by kind of task, and the latest ones. */
import type { LatencyView, TaskSplit } from '../state.ts'
import { attribute, byId, el, keyed, setText } from './dom.ts'
import { milliseconds, stamp } from './format.ts'

type Part = {
  readonly key: 'turnMs' | 'keyWaitMs' | 'queueMs' | 'wireMs' | 'breakerMs'
  readonly name: string
  readonly css: string
}

const PARTS: readonly Part[] = [
  { key: 'turnMs', name: 'turn', css: 'turn' },
  { key: 'keyWaitMs', name: 'key', css: 'key' },
  { key: 'queueMs', name: 'queue', css: 'queue' },
  { key: 'wireMs', name: 'wire', css: 'wire' },
  { key: 'breakerMs', name: 'breaker', css: 'breaker' },
]
const SHOWN_TASKS = 8

export class LatencyPanel {
  readonly #body: Element

  constructor() {
    byId('latency-legend').append(...PARTS.map(({ name, css }) => el('span', { class: `key part-${css}` }, name)))
    const table = byId('task-table')
    const names = ['At', 'Chain', 'Took', 'Parts', 'Outcome']
    table.querySelector('thead')?.append(el('tr', {}, ...names.map((name) => el('th', { scope: 'col' }, name))))
    this.#body = table.querySelector('tbody') ?? table
  }

  update(latency: readonly LatencyView[], tasks: readonly TaskSplit[]): void {
    const host = byId('latency')
    if (latency.length === 0) {
      if (host.childElementCount === 0)
        host.append(el('p', { class: 'muted', 'data-key': 'none' }, 'No command has ended yet.'))
    } else {
      keyed(host, latency, {
        key: ({ taskType }) => taskType,
        make: ({ taskType }) =>
          el(
            'div',
            { class: 'split' },
            el('div', { class: 'split-head' }, el('strong', {}, taskType), el('span', { class: 'num muted' })),
            el('div', { class: 'bar', role: 'img' }),
            el('dl', { class: 'facts' }),
          ),
        update: (element, view) => fill(element, view),
      })
    }
    const shown = tasks.slice(0, SHOWN_TASKS)
    const longest = Math.max(1, ...shown.map(({ latencyMs }) => latencyMs))
    keyed(this.#body, shown, {
      key: ({ task, tMs }) => `${task} ${tMs}`,
      make: (task) => taskRow(task),
      update: (row, task) => drawBar(row.querySelector('.bar'), task, longest),
    })
  }
}

function fill(element: Element, view: LatencyView): void {
  const whole = PARTS.reduce((sum, { key }) => sum + view[key], 0)
  const scale = Math.max(whole, view.p95Ms, 1)
  const head = element.querySelector('.split-head .num')
  const words = `median ${milliseconds(view.medianMs)} ms, 95 % ${milliseconds(view.p95Ms)} ms, deadline ${milliseconds(view.deadlineMs)} ms`
  if (head) setText(head, words)
  const bar = element.querySelector('.bar')
  drawBar(bar, view, scale)
  if (bar) attribute(bar, 'aria-label', `${view.taskType}: ${words}`)
  const list = element.querySelector('dl')
  if (list === null) return
  keyed(list, PARTS, {
    key: ({ name }) => name,
    make: ({ name }) => el('div', {}, el('dt', {}, name), el('dd', { class: 'num' })),
    update: (fact, { key }) => setText(fact.lastElementChild ?? fact, `${milliseconds(view[key])} ms`),
  })
}

function drawBar(bar: Element | null, times: Readonly<Record<Part['key'], number>>, scaleMs: number): void {
  if (bar === null) return
  keyed(bar, PARTS, {
    key: ({ name }) => name,
    make: ({ css }) => el('span', { class: `part part-${css}` }),
    update: (part, { key, name }) => {
      const width = `${((100 * times[key]) / scaleMs).toFixed(2)}%`
      if (part instanceof HTMLElement && part.style.width !== width) part.style.width = width
      attribute(part, 'title', `${name} ${milliseconds(times[key])} ms`)
    },
  })
}

function taskRow({ tMs, chain, latencyMs, outcome, reason }: TaskSplit): Element {
  // A command that a newer one replaced, or the end of the run, is no failure.
  const isLetGo = reason === 'replaced' || reason === 'drain'
  const words = isLetGo ? reason : outcome === 'failed' ? `failed: ${reason}` : outcome
  const tone = isLetGo ? 'plain' : outcome === 'full' ? 'good' : outcome === 'degraded' ? 'warn' : 'bad'
  return el(
    'tr',
    {},
    el('td', { class: 'num' }, `${stamp(tMs)} s`),
    el('td', {}, chain),
    el('td', { class: 'num' }, `${milliseconds(latencyMs)} ms`),
    el('td', { class: 'wide' }, el('div', { class: 'bar thin', role: 'img', 'aria-label': 'parts' })),
    el('td', { class: `tone-${tone}` }, words),
  )
}
