/** Plays a finished run: folds its record up to a moment, and goes on from there at a speed. */
import { LabView } from '../lab-view.ts'
import type { LabHead, LabRecord, LabState } from '../state.ts'
import { attribute, byId, el, setText } from './dom.ts'
import { time } from './format.ts'

const SPEEDS = [1, 2, 5, 20] as const
/** Lab time is told to the view in such steps, as it is live. */
const STEP_MS = 100

export class Player {
  readonly #head: LabHead
  readonly #records: readonly LabRecord[]
  readonly #onChange: (state: LabState) => void
  readonly #endMs: number
  #view: LabView
  #atMs = 0
  #next = 0
  #speed = 1
  #isPlaying = false
  #lastMs = 0
  readonly #play = el('button', { type: 'button', class: 'primary' }, 'Play')
  readonly #slider: HTMLInputElement
  readonly #text = el('span', { class: 'num' })

  constructor(head: LabHead, records: readonly LabRecord[], onChange: (state: LabState) => void) {
    this.#head = head
    this.#records = records
    this.#onChange = onChange
    this.#endMs = Math.max(head.durationMs, records.at(-1)?.tMs ?? 0)
    this.#view = new LabView(head)
    this.#slider = el('input', {
      type: 'range',
      min: 0,
      max: this.#endMs,
      step: STEP_MS,
      value: 0,
      'aria-label': 'Lab time',
    })
    this.#show()
    this.seek(this.#endMs)
  }

  get view(): LabView {
    return this.#view
  }

  /** Goes to a moment; back means from the start. */
  seek(toMs: number): void {
    if (toMs < this.#atMs) {
      this.#view = new LabView(this.#head)
      this.#next = 0
      this.#atMs = 0
    }
    this.#view.setPhase(toMs >= this.#endMs ? 'ended' : 'running')
    while (this.#atMs < toMs) {
      this.#atMs = Math.min(toMs, this.#atMs + STEP_MS)
      for (
        let record = this.#records[this.#next];
        record !== undefined && record.tMs <= this.#atMs;
        record = this.#records[this.#next]
      ) {
        this.#view.take(record)
        this.#next += 1
      }
      this.#view.tick(this.#atMs)
    }
    this.#slider.value = String(this.#atMs)
    attribute(this.#slider, 'aria-valuetext', time(this.#atMs))
    setText(this.#text, `${time(this.#atMs)} of ${time(this.#endMs)}`)
    this.#onChange(this.#view.state())
  }

  #show(): void {
    this.#play.addEventListener('click', () => this.#setPlaying(!this.#isPlaying))
    this.#slider.addEventListener('input', () => {
      this.#setPlaying(false)
      this.seek(Number(this.#slider.value))
    })
    const speed = el(
      'select',
      { 'aria-label': 'Speed' },
      ...SPEEDS.map((value) => el('option', { value }, `\u00d7${value}`)),
    )
    speed.addEventListener('input', () => {
      this.#speed = Number(speed.value)
    })
    const footer = byId('player')
    footer.append(this.#play, speed, this.#slider, this.#text)
    footer.hidden = false
  }

  #setPlaying(isPlaying: boolean): void {
    if (isPlaying && this.#atMs >= this.#endMs) this.seek(0)
    this.#isPlaying = isPlaying
    setText(this.#play, isPlaying ? 'Pause' : 'Play')
    this.#lastMs = performance.now()
    if (isPlaying) requestAnimationFrame(() => this.#frame())
  }

  #frame(): void {
    if (!this.#isPlaying) return
    const nowMs = performance.now()
    const elapsedMs = nowMs - this.#lastMs
    if (elapsedMs >= STEP_MS) {
      this.#lastMs = nowMs
      this.seek(Math.min(this.#endMs, this.#atMs + elapsedMs * this.#speed))
      if (this.#atMs >= this.#endMs) this.#setPlaying(false)
    }
    requestAnimationFrame(() => this.#frame())
  }
}
