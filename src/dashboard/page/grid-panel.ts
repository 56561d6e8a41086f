/** Frequency and voltage over time. */
import type { GridView, LabHead } from '../state.ts'
import { Chart } from './chart.ts'
import { byId, setText } from './dom.ts'
import { signed } from './format.ts'
import type { Picture } from './lab.ts'

export class GridPanel {
  readonly #frequency: Chart
  readonly #voltage: Chart
  readonly #readout = byId('grid-readout')
  #head: LabHead | undefined
  #grid: GridView | null = null
  #picture: Picture | undefined

  constructor() {
    const onCursor = (index: number | null): void => this.#read(index)
    this.#frequency = new Chart(byId('frequency-chart'), {
      series: [
        { label: 'worst machine', colour: '--worst', width: 1 },
        { label: 'centre of inertia', colour: '--frequency', width: 2 },
      ],
      levels: () => {
        const bandHz = this.#head?.bandHz ?? 0
        return [
          { value: bandHz, name: '', tone: 'warn' },
          { value: -bandHz, name: `\u00b1${bandHz} Hz`, tone: 'warn' },
        ]
      },
      value: (value) => signed(value, 2),
      range: (min, max) => {
        const reach = Math.max(0.06, Math.abs(min), Math.abs(max)) * 1.1
        return [-reach, reach]
      },
      height: 168,
      onCursor,
    })
    this.#voltage = new Chart(byId('voltage-chart'), {
      series: [
        { label: 'highest', colour: '--voltage', width: 1.5 },
        { label: 'lowest', colour: '--voltage', width: 1.5, bandTo: 0, fill: '--band' },
      ],
      levels: () => [],
      value: (value) => value.toFixed(2),
      range: (min, max) => (max > min ? [min - 0.01, max + 0.01] : [0.9, 1.1]),
      height: 124,
      onCursor,
    })
  }

  recolour(): void {
    this.#frequency.recolour()
    this.#voltage.recolour()
  }

  update(picture: Picture, window: readonly [number, number]): void {
    this.#picture = picture
    this.#head = picture.head
    this.#grid = picture.state.grid
    const { tMs, columns } = picture.history
    const times = tMs.map((ms) => ms / 1000)
    const column = (name: string): readonly (number | null)[] => columns[name] ?? []
    // The worst machine's deviation is a size; it is drawn on the side the centre of inertia is on.
    const delta = column('deltaFHz')
    const worst = column('worstHz').map((hz, index) => (hz === null ? null : (delta[index] ?? 0) < 0 ? -hz : hz))
    this.#frequency.draw([times, worst, delta], window)
    this.#voltage.draw([times, column('maxVoltagePu'), column('minVoltagePu')], window)
    if (this.#readout.dataset['at'] === undefined) this.#readNow()
  }

  #readNow(): void {
    const grid = this.#grid
    if (grid === null) return
    const voltage =
      grid.minVoltagePu === null ? '' : `, ${grid.minVoltagePu.toFixed(3)} p.u. at bus ${grid.minVoltageBus}`
    setText(this.#readout, grid.collapsed ? 'collapsed' : `${signed(grid.deltaFHz, 3)} Hz${voltage}`)
  }

  #read(index: number | null): void {
    const { tMs = [], columns = {} } = this.#picture?.history ?? {}
    const at = index === null ? undefined : tMs[index]
    const delta = index === null ? undefined : columns['deltaFHz']?.[index]
    if (at === undefined || delta === undefined || delta === null) {
      delete this.#readout.dataset['at']
      this.#readNow()
      return
    }
    this.#readout.dataset['at'] = String(at)
    setText(this.#readout, `${signed(delta, 3)} Hz at ${(at / 1000).toFixed(1)} s`)
  }
}
