/** A series over lab time with uPlot, in the page's colours, with level lines and a band. */
// `uPlot` is a global: index.html loads it from /vendor/uplot.js.

/** The times, s, and a column for each series. */
export type ChartData = readonly (readonly (number | null)[])[]

export type Level = { readonly value: number; readonly name: string; readonly tone: 'bad' | 'warn' | 'plain' }

export type ChartSeries = {
  readonly label: string
  /** Custom property of style.css. */
  readonly colour: string
  readonly width?: number
  readonly dash?: readonly number[]
  /** Filled down to the series of this index. */
  readonly bandTo?: number
  readonly fill?: string
}

export type ChartOptions = {
  readonly series: readonly ChartSeries[]
  readonly levels: () => readonly Level[]
  readonly value: (value: number) => string
  /** Smallest range of the value axis. */
  readonly range: (min: number, max: number) => readonly [number, number]
  readonly height: number
  readonly onCursor: (index: number | null) => void
}

const TEXT_PX = 11
const cursors = uPlot.sync('time')

export class Chart {
  readonly #host: HTMLElement
  readonly #options: ChartOptions
  #plot: uPlot | undefined
  #data: uPlot.AlignedData = [[]]
  #window: readonly [number, number] = [0, 1]

  constructor(host: HTMLElement, options: ChartOptions) {
    this.#host = host
    this.#options = options
    new ResizeObserver(() => this.#fit()).observe(host)
  }

  /** Draws the series (first the times, s) within a window of time. */
  draw(data: ChartData, window: readonly [number, number]): void {
    this.#data = data as uPlot.AlignedData
    this.#window = window
    if (this.#plot === undefined) this.#make()
    else this.#plot.setData(this.#data, true)
  }

  /** Colours have changed. */
  recolour(): void {
    this.#plot?.destroy()
    this.#plot = undefined
    if (this.#data.length > 1) this.#make()
  }

  #fit(): void {
    const width = this.#host.clientWidth
    if (this.#plot !== undefined && width > 0 && this.#plot.width !== width) {
      this.#plot.setSize({ width, height: this.#options.height })
    }
  }

  #make(): void {
    const { series, value, range, height, onCursor } = this.#options
    const axis = {
      stroke: colour('--muted'),
      font: `${TEXT_PX}px system-ui, sans-serif`,
      grid: { stroke: colour('--grid'), width: 1 },
      ticks: { show: false },
    }
    this.#plot = new uPlot(
      {
        width: Math.max(80, this.#host.clientWidth),
        height,
        padding: [8, 10, 0, 0],
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { size: 6 },
          sync: { key: cursors.key },
        },
        scales: {
          x: { time: false, range: () => [...this.#window] as [number, number] },
          y: { range: (_, min, max) => [...range(min ?? 0, max ?? 0)] as [number, number] },
        },
        axes: [
          {
            ...axis,
            size: 26,
            values: (_, splits) => splits.map((s) => (s < 120 ? `${s} s` : `${Math.round(s / 6) / 10} min`)),
          },
          { ...axis, size: 52, values: (_, splits) => splits.map(value) },
        ],
        series: [
          {},
          ...series.map(({ label, colour: name, width = 1.5, dash, fill }) => ({
            label,
            stroke: colour(name),
            width,
            points: { show: false },
            ...(dash && { dash: [...dash] }),
            ...(fill && { fill: colour(fill) }),
          })),
        ],
        bands: series.flatMap(({ bandTo, fill }, index) =>
          bandTo === undefined
            ? []
            : [{ series: [index + 1, bandTo + 1] as [number, number], fill: colour(fill ?? '--band') }],
        ),
        hooks: {
          draw: [(plot) => this.#drawLevels(plot)],
          setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)],
        },
      },
      this.#data,
      this.#host,
    )
  }

  #drawLevels(plot: uPlot): void {
    const { ctx, bbox } = plot
    const ratio = devicePixelRatio
    ctx.save()
    ctx.font = `${TEXT_PX * ratio}px system-ui, sans-serif`
    ctx.lineWidth = ratio
    ctx.textAlign = 'left'
    ctx.textBaseline = 'alphabetic'
    for (const { value, name, tone } of this.#options.levels()) {
      const y = Math.round(plot.valToPos(value, 'y', true)) + 0.5
      if (y < bbox.top || y > bbox.top + bbox.height) continue
      ctx.strokeStyle = colour(tone === 'plain' ? '--muted' : `--${tone}`)
      ctx.fillStyle = ctx.strokeStyle
      ctx.setLineDash([5 * ratio, 4 * ratio])
      ctx.beginPath()
      ctx.moveTo(bbox.left, y)
      ctx.lineTo(bbox.left + bbox.width, y)
      ctx.stroke()
      if (name !== '') ctx.fillText(name, bbox.left + 5 * ratio, y - 4 * ratio)
    }
    ctx.restore()
  }
}

/** Value of a custom property of the page's style. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}
