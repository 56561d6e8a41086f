import type { StreamRecord, TallyRecord } from './stream.ts'

/** What a pool writes down, so that its books go on after its process has died. */
export type PoolRecord = {
  readonly pool: TallyRecord
  readonly local: TallyRecord
  readonly relay: TallyRecord
  /** Slots that pool links have spent on carrying relayed key: link, slots. */
  readonly relayUse: readonly (readonly [number, number])[]
  /** Slots of links that programs outside the lab were given: link, slots. */
  readonly outsideUse?: readonly (readonly [number, number])[]
  readonly streams: readonly StreamRecord[]
}
