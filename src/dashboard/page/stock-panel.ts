/** The key stock: gauge with its thresholds, the series with the forecast's band, and the books. */
import type { PoolView } from '../state.ts'
import { Chart, type Level } from './chart.ts'
import { byId, el, keyed, setText, svg } from './dom.ts'
import { bits, percent } from './format.ts'
import type { Picture } from './lab.ts'

const GAUGE = { width: 92, height: 268, top: 10, bottom: 26, barX: 8, barWidth: 22 } as const

export class StockPanel {
  readonly #chart: Chart
  readonly #gauge = byId('gauge')
  readonly #readout = byId('stock-readout')
  #pool: PoolView | null = null
  #times: readonly number[] = []
  #values: readonly (number | null)[] = []

  constructor() {
    this.#chart = new Chart(byId('stock-chart'), {
      series: [
        { label: 'key stock', colour: '--key', fill: '--key-soft', width: 2 },
        { label: 'forecast', colour: '--key', dash: [4, 4] },
        { label: 'lower bound', colour: '--muted', dash: [2, 3], bandTo: 1, fill: '--band' },
      ],
      levels: () => levelsOf(this.#pool),
      value: (value) => bits(value).replace(' bit', '').replace('kbit', 'k').replace('Mbit', 'M'),
      range: (_, max) => [0, Math.max(max, this.#pool?.capBits ?? 0) * 1.06 || 1],
      height: 268,
      onCursor: (index) => this.#read(index),
    })
  }

  recolour(): void {
    this.#chart.recolour()
  }

  update({ state: { pool }, history }: Picture, window: readonly [number, number]): void {
    this.#pool = pool
    const times = history.tMs.map((tMs) => tMs / 1000)
    const stock = history.columns['poolBits'] ?? []
    this.#times = times
    this.#values = stock
    const { ahead, mean, lower } = forecastOf(pool)
    const before = times.map(() => null)
    const data = [
      [...times, ...ahead],
      [...stock, ...ahead.map(() => null)],
      [...before, ...mean],
      [...before, ...lower],
    ]
    this.#chart.draw(data, window)
    if (pool === null) return
    const level = byId('stock-level')
    setText(level, pool.level)
    level.dataset['tone'] = pool.level
    if (this.#readout.dataset['at'] === undefined) setText(this.#readout, bits(pool.books.poolBits))
    this.#drawGauge(pool)
    this.#drawBooks(pool)
  }

  #read(index: number | null): void {
    const at = index === null ? undefined : this.#times[index]
    const value = index === null ? undefined : this.#values[index]
    if (at === undefined || value === undefined || value === null) {
      delete this.#readout.dataset['at']
      if (this.#pool !== null) setText(this.#readout, bits(this.#pool.books.poolBits))
      return
    }
    this.#readout.dataset['at'] = String(at)
    setText(this.#readout, `${bits(value)} at ${at.toFixed(1)} s`)
  }

  #drawGauge(pool: PoolView): void {
    const { width, height, top, bottom, barX, barWidth } = GAUGE
    const full = height - top - bottom
    const y = (value: number): number => top + full * (1 - Math.min(1, value / pool.capBits))
    const { poolBits } = pool.books
    const marks = levelsOf(pool).flatMap(({ value, name, tone }) => [
      svg('path', { class: `mark tone-${tone}`, d: `M${barX - 3} ${y(value)}h${barWidth + 8}` }),
      svg('text', { class: `tone-${tone}`, x: barX + barWidth + 8, y: y(value) + 4 }, name),
    ])
    const label = `Key stock ${bits(poolBits)} of ${bits(pool.capBits)}, level ${pool.level}`
    const root = svg('svg', { width, height, role: 'img', 'aria-label': label })
    root.append(
      svg('rect', { class: 'trough', x: barX, y: top, width: barWidth, height: full, rx: 3 }),
      svg('rect', {
        class: `fill level-${pool.level}`,
        x: barX,
        y: y(poolBits),
        width: barWidth,
        height: Math.max(0, top + full - y(poolBits)),
        rx: 3,
      }),
      ...marks,
    )
    this.#gauge.replaceChildren(root)
  }

  #drawBooks({ books, capBits, forecast }: PoolView): void {
    const facts: readonly (readonly [string, string])[] = [
      ['in the pool', `${bits(books.poolBits)} (${percent(books.poolBits, capBits)})`],
      ['with the channels', bits(books.reservedBits)],
      ['used', bits(books.usedBits)],
      ['generated', bits(books.generatedBits)],
      ['discarded', bits(books.discardedBits)],
      ['expired', bits(books.expiredBits)],
      ...(forecast === null ? [] : [['forecast by', forecast.source] as const]),
    ]
    keyed(byId('stock-facts'), facts, {
      key: ([name]) => name,
      make: ([name]) => el('div', {}, el('dt', {}, name), el('dd', { class: 'num' })),
      update: (element, [, value]) => setText(element.lastElementChild ?? element, value),
    })
  }
}

function levelsOf(pool: PoolView | null): readonly Level[] {
  if (pool === null) return []
  return [
    { value: pool.capBits, name: 'K cap', tone: 'plain' },
    { value: pool.thBits, name: 'K th', tone: 'warn' },
    { value: pool.safeBits, name: 'K safe', tone: 'bad' },
  ]
}

function forecastOf(pool: PoolView | null): { ahead: number[]; mean: number[]; lower: number[] } {
  const forecast = pool?.forecast
  if (forecast === null || forecast === undefined) return { ahead: [], mean: [], lower: [] }
  const { tMs, stepMs, stockBits, stockLowerBits } = forecast
  return {
    ahead: stockBits.map((_, step) => (tMs + (step + 1) * stepMs) / 1000),
    mean: [...stockBits],
    lower: stockBits.map((value, step) => stockLowerBits[step] ?? value),
  }
}
