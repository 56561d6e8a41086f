export type KeyClientOptions = {
  /** `host:port` of the key server. */
  readonly address: string
  /** The key server's node id: its certificate must name it. */
  readonly serverName: string
  readonly caPem: string
  /** Certificate and key of this node; its CN is `nodeId`. */
  readonly certPem: string
  readonly keyPem: string
  readonly nodeId: string
  /** Links of which this node is an end. */
  readonly links: readonly number[]
  /**
   * Key kept here beyond what the node has fetched, on each channel it sends on: when fewer than `lowSlots` are here, the
   * server is asked for so many that there are `highSlots`. Default none.
   */
  readonly ahead?: { readonly lowSlots: number; readonly highSlots: number }
}

/** What a fetch may say besides how far. */
export type FetchDetails = {
  /** So far the key is for the chain of the highest priority, which may draw on the reserve that is kept for it. */
  readonly topUpToSlot?: number
  /** Which quota pays, in a pool that is divided into quotas. */
  readonly quota?: string
}

/** What the client waits for. */
export type KeyServerWait = { readonly nodeId: string; readonly address: string; readonly reason: string }
