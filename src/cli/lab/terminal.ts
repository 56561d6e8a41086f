import type { MasterStatus } from '../../master/index.ts'
import type { PoolStatus } from '../../runtime/contract.ts'
import type { Progress } from './lab-run.ts'

/** Where the run's words go: progress on one line that is written over on a terminal, every fifth second elsewhere. */
export class Terminal {
  readonly #out: NodeJS.WriteStream
  readonly #quiet: boolean
  #lineOpen = false
  #lines = 0

  /** @param quiet nothing but warnings: the result goes to stdout as JSON */
  constructor(out: NodeJS.WriteStream, quiet: boolean) {
    this.#out = out
    this.#quiet = quiet
  }

  say(text: string): void {
    if (!this.#quiet) this.warn(text)
  }

  warn(text: string): void {
    if (this.#lineOpen) this.#out.write('\n')
    this.#lineOpen = false
    this.#out.write(`${text}\n`)
  }

  progress(progress: Progress, durationS: number): void {
    if (this.#quiet) return
    const line = progressLine(progress, durationS)
    if (this.#out.isTTY) {
      this.#out.write(`\r\x1b[K${line.slice(0, (this.#out.columns ?? 120) - 1)}`)
      this.#lineOpen = true
    } else if (this.#lines++ % 5 === 0) {
      this.#out.write(`${line}\n`)
    }
  }
}

/** What the master's process tells: its `MasterStatus`. */
function isMasterStatus(status: object): status is MasterStatus {
  return 'chains' in status && 'tasks' in status
}

/** Chains and tasks of all masters together, by their status; undefined before the first has told any. */
export function masterStatusIn(statusOf: Progress['statusOf']): Pick<MasterStatus, 'chains' | 'tasks'> | undefined {
  const all = [...statusOf.values()].filter(isMasterStatus)
  if (all.length === 0) return undefined
  const sum = (of: (status: MasterStatus) => number): number => all.reduce((total, status) => total + of(status), 0)
  return {
    chains: {
      off: sum(({ chains }) => chains.off),
      aes: sum(({ chains }) => chains.aes),
      otp: sum(({ chains }) => chains.otp),
    },
    tasks: {
      issued: sum(({ tasks }) => tasks.issued),
      ok: sum(({ tasks }) => tasks.ok),
      late: sum(({ tasks }) => tasks.late),
    },
  }
}

const kbit = (bits: number): string => `${(bits / 1000).toFixed(1)}k`

/** `t  12/60 s  K 70.4k bit (normal; safe 16.0k th 32.0k cap 144.0k)  df -0.031 Hz  chains OTP 20 AES 0 off 0  tasks ok 31/33 late 0` */
export function progressLine({ tS, statusOf, linksDown }: Progress, durationS: number): string {
  const parts = [`t ${tS.toFixed(0).padStart(3)}/${durationS} s`]
  const pool = statusOf.get('keyserver') as PoolStatus | undefined
  if (pool !== undefined) {
    const { books, level, safeBits, thBits, capBits } = pool
    parts.push(
      `K ${kbit(books.poolBits)} bit (${level}; safe ${kbit(safeBits)} th ${kbit(thBits)} cap ${kbit(capBits)})`,
    )
  }
  const grid = statusOf.get('grid')
  if (grid !== undefined) parts.push(`df ${Number(grid['deltaFHz']).toFixed(3)} Hz`)
  const master = masterStatusIn(statusOf)
  if (master !== undefined) {
    const { chains, tasks } = master
    parts.push(`chains OTP ${chains.otp} AES ${chains.aes} off ${chains.off}`)
    parts.push(`tasks ok ${tasks.ok}/${tasks.issued} late ${tasks.late}`)
  }
  if (linksDown.length > 0) parts.push(`links down: ${linksDown.join(' ')}`)
  return parts.join('  ')
}
