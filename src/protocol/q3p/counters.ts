import type { DropReason } from './types.ts'

/** Drops that the link adds to those of the channel: the frame was authentic but of no use. */
export type LinkDrop =
  /** No session: the peer has not noticed yet, or it is over. */
  | 'noSession'
  /** A HANDSHAKE that is malformed, answers nothing of ours, or came to an end that waits for none. */
  | 'handshake'
  /** A HANDSHAKE of another node than the one that is to be at the other end. */
  | 'identity'
  /** A command that this link does not use. */
  | 'unusedCommand'
  /** Authenticated plaintext other than a HANDSHAKE. */
  | 'plaintext'
  /** N(S) outside the reorder window. */
  | 'sequence'

/** Named counts; they only grow. */
export class Counters {
  readonly #counts = new Map<string, number>()
  /** Under a flood a name for every drop would cost more than the drop. */
  readonly #dropNames = new Map<DropReason | LinkDrop, string>()

  constructor(names: readonly string[]) {
    for (const name of names) this.#counts.set(name, 0)
  }

  count(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  /** Counts a drop under `drop` and the reason: dropTag, dropReplayed and so on. */
  drop(reason: DropReason | LinkDrop): void {
    const name = this.#dropNames.get(reason) ?? `drop${reason.charAt(0).toUpperCase()}${reason.slice(1)}`
    this.#dropNames.set(reason, name)
    this.count(name)
  }

  toRecord(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts)
  }
}
