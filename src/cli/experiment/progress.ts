/** A line on the terminal that says how far a study is, and when it will be done. */
export class StudyProgress {
  readonly #total: number
  readonly #begunMs = performance.now()
  readonly #isTty = process.stderr.isTTY === true
  #toldMs = 0

  constructor(total: number) {
    this.#total = total
  }

  /** `done` runs are done, the last of them was `what`. */
  step(done: number, what: string): void {
    const elapsedMs = performance.now() - this.#begunMs
    const isLast = done === this.#total
    // A file or a pipe gets a line every ten seconds.
    if (!this.#isTty && !isLast && performance.now() - this.#toldMs < 10_000) return
    this.#toldMs = performance.now()
    const leftS = ((elapsedMs / done) * (this.#total - done)) / 1000
    const bar = '#'.repeat(Math.round((30 * done) / this.#total)).padEnd(30, '.')
    const eta = isLast ? `took ${clockText(elapsedMs / 1000)}` : `${clockText(leftS)} left`
    const line = `[${bar}] ${done}/${this.#total} runs, ${eta}, last ${what}`
    process.stderr.write(this.#isTty ? `\r\u001b[K${line}${isLast ? '\n' : ''}` : `${line}\n`)
  }
}

/** 75 s as 1:15. */
export function clockText(seconds: number): string {
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`
}
