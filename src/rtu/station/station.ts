import type { Node, Wake } from '../../runtime/contract.ts'
import type { StationConfig, StationEffect, StationInput } from './contract.ts'
import { StationCore } from './core.ts'
import type { StationStatus } from './status.ts'
import { StreamFront } from './stream-front.ts'

/**
 * A controlled station of IEC 60870-5-104 for any number of controlling stations over byte streams (TCP, TLS): point
 * database, events, interrogation, counters, commands, clock, parameters, files, redundancy groups. Pure; whatever octets
 * a peer sends, they give effects or a close.
 */
export class ControlledStation implements Node<StationInput, StationEffect> {
  readonly #core: StationCore
  readonly #streams: StreamFront
  #effects: StationEffect[] = []

  /** RangeError that names everything that is wrong with `config`. */
  constructor(config: StationConfig) {
    this.#core = new StationCore(config)
    this.#streams = new StreamFront(this.#core, config, (effect) => {
      this.#collect()
      this.#effects.push(effect)
    })
  }

  get wakeAtMs(): number | undefined {
    const atMs = Math.min(this.#core.wakeAtMs, this.#streams.wakeAtMs)
    return Number.isFinite(atMs) ? atMs : undefined
  }

  /** The common addresses of this station. */
  get cas(): readonly number[] {
    return this.#core.cas
  }

  /** Connections, queues and counts, for a display or a log. */
  status(): StationStatus {
    return { connections: this.#streams.status(), ...this.#core.status() }
  }

  handle(input: StationInput | Wake, nowMs: number): readonly StationEffect[] {
    if (input.kind === 'start') this.#core.begin(input.wallMs, nowMs)
    else if (input.kind === 'wake') {
      this.#streams.wake(nowMs)
      this.#core.wake(nowMs)
    } else if (input.kind === 'setPoint' || input.kind === 'commandDone') this.#core.take(input, nowMs)
    else this.#streams.take(input, nowMs)
    this.#streams.pump(nowMs)
    this.#collect()
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** Effects stay in the order in which they were asked for. */
  #collect(): void {
    for (const effect of this.#core.takeEffects()) this.#effects.push(effect)
  }
}
