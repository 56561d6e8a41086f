import type { StreamLedger } from './stream.ts'

/** A stream that waits for key. */
export type Waiting = {
  readonly stream: StreamLedger
  /** Still to come. */
  slots: number
  /** Lab time at which nobody wants it any more; undefined: never. */
  deadlineMs: number | undefined
}

/** The streams that wait for one stock, and in what order they are served. */
export type WaitingLine = Iterable<Waiting> & {
  /** Streams that wait. */
  readonly size: number
  /** Earliest deadline of those who wait. */
  readonly nextDeadlineMs: number | undefined
  /** The stream waits for `slots` more; of two deadlines the later one holds. */
  add(stream: StreamLedger, slots: number, deadlineMs: number | undefined): void
  /** Takes a stream out. */
  remove(channel: number): void
  /** What a stream waits for. */
  slotsOf(channel: number): number
  /** The stream waits for up to `slots` fewer; gives by how many. */
  shrink(channel: number, slots: number): number
  /** Hands out until nobody can be given more. `grant` takes up to so many slots for a stream and says how many. */
  serve(grant: (stream: StreamLedger, slots: number) => number): void
}
