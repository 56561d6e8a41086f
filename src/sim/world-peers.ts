import type {
  GridDone,
  GridRequest,
  GridSample,
  KeyBlock,
  LabEvent,
  LinkState,
  PoolStatus,
} from '../runtime/contract.ts'

/** What the world tells the key server. */
export type KeyServerInput =
  | { readonly kind: 'start'; readonly wallMs: number }
  | { readonly kind: 'generated'; readonly link: number; readonly bits: number }
  | { readonly kind: 'linkState'; readonly state: LinkState }
  /** `instance` tells a restarted client from the one before, whose key it must not use again. */
  | {
      readonly kind: 'subscribe'
      readonly client: string
      readonly links: readonly number[]
      readonly instance: string
    }
  | {
      readonly kind: 'want'
      readonly client: string
      readonly channel: number
      readonly upToSlot: number
      readonly topUpToSlot?: number
    }
  | {
      readonly kind: 'report'
      readonly client: string
      readonly channel: number
      readonly usedSlots: number
      readonly discardedSlots?: number
    }
  | { readonly kind: 'gone'; readonly client: string }
  | { readonly kind: 'drain' }

/** What the key server answers. */
export type KeyServerEffect =
  | { readonly kind: 'blocks'; readonly client: string; readonly block: KeyBlock }
  | { readonly kind: 'status'; readonly status: PoolStatus }
  | { readonly kind: 'refuse'; readonly client: string; readonly reason: string }
  | { readonly kind: 'event'; readonly event: LabEvent }

/** What the world tells the grid. */
export type GridInput =
  | { readonly kind: 'start'; readonly wallMs: number }
  | { readonly kind: 'request'; readonly client: number; readonly request: GridRequest }
  | { readonly kind: 'clientGone'; readonly client: number }
  | { readonly kind: 'drain' }

/** What the grid answers. */
export type GridEffect =
  | { readonly kind: 'reply'; readonly client: number; readonly message: GridSample | GridDone }
  | { readonly kind: 'event'; readonly event: LabEvent }
