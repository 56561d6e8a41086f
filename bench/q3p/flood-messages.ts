/** What the processes of the flood benchmark tell each other. */

/** What the attacker sends: see there. */
export type Attack = 'noise' | 'blind' | 'sniffing' | 'freshKey'

export type ToEnd =
  | { readonly kind: 'begin'; readonly end: 0 | 1 }
  /** Commanding end: a round of commands. */
  | { readonly kind: 'round'; readonly durationMs: number; readonly perS: number }
  /** Commanding end: somebody who has stolen its socket floods the peer. */
  | { readonly kind: 'flood'; readonly attack: Attack; readonly durationMs: number; readonly perS: number }
  | { readonly kind: 'usage' }
  | { readonly kind: 'stop' }

export type FromEnd =
  | { readonly kind: 'up' }
  /** Times from a command to its confirmation, ms; `lost`: commands that never were confirmed. */
  | { readonly kind: 'round'; readonly times: readonly number[]; readonly lost: number }
  | { readonly kind: 'flooded'; readonly sent: number }
  /** CPU time this end has taken and datagrams it has received since it began. */
  | { readonly kind: 'usage'; readonly cpuUs: number; readonly received: number }
  | { readonly kind: 'stopped'; readonly counters: Readonly<Record<string, unknown>>; readonly received: number }

/** What one who reads along knows of the attacked channel: the last Msg-Id, where its key ends, and the AES key in use. */
export type ToAttacker = {
  readonly msgId: number
  readonly slot: number
  readonly aesSlot: number | undefined
}

export type FromAttacker = { readonly sent: number }

export const HOSTS = ['127.0.104.1', '127.0.104.2'] as const
export const PORT = 20_104
export const LINK = 5
/** Key that both ends have from the start. */
export const KEY_SLOTS = 2 ** 19
