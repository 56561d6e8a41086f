/** What a station tells of itself. */
export type StationStatus = {
  readonly connections: readonly {
    readonly id: number
    readonly peer: string
    readonly isStarted: boolean
    readonly group: string | undefined
    readonly unacked: number
    readonly asdusSent: number
    readonly asdusReceived: number
  }[]
  readonly groups: readonly {
    readonly name: string
    readonly active: number | undefined
    readonly waitingEvents: number
    /** Lost because more than `maxEvents` waited. */
    readonly droppedEvents: number
  }[]
  /** Lost with the queues of peers that did not come back. */
  readonly abandonedEvents: number
  /** Scans left out because the one before was not through. */
  readonly scansSkipped: number
  /** Orders refused, by cause 44..47, 7 or 9. */
  readonly refusedByCause: { readonly [cause: string]: number }
}
