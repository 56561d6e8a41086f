/** Bytes in a slot of a key stream. */
export const SLOT_BYTES = 4
/** The furthest a want may reach ahead of its stream, in slots (256 KiB of key). */
export const MAX_WANT_SLOTS = 65_536
/** Streams end here, far below 2^53, so that sums of slots and bits stay exact. */
export const MAX_SLOT = 2 ** 47
/** What a stream keeps for supervision (SecureLink leaves it to no message): one HANDSHAKE and one AES key, in slots. */
export const AUTHENTICATION_SLOTS = 12

/** A fixed part of the key that is generated, in a stock of its own: nobody else draws on it, and it draws on nothing else. */
export type KeyQuota = {
  /** Name, e.g. that of a control chain. */
  readonly id: string
  /** Channels that may draw on it. A channel that only one quota names draws on it by default. */
  readonly channels: readonly number[]
  /** Links whose key it shares in; default all. */
  readonly fromLinks?: readonly number[]
  /** Its part of a link's key, against the weights of the others; default 1. */
  readonly weight?: number
  /** The most its stock holds; default an equal part of the pool's cap. */
  readonly capBits?: number
}

export type KeyPoolOptions = {
  /**
   * `shared`: one stock for all links. `perLink`: a stock each, with an equal part of the cap. `quota`: a stock for each of
   * `quotas`; what a quota does not use is discarded when its stock is full.
   */
  readonly poolKind: 'shared' | 'perLink' | 'quota'
  /**
   * Links with `keys: local` draw on material of their own, made on demand, which K does not count. A link with `keys: relay`
   * has no QKD of its own: its key is carried over a path of pool links, each of which spends as much (one-time pad).
   */
  readonly links: readonly {
    readonly link: number
    readonly keys: 'pool' | 'local' | 'relay'
    /** Node ids; needed where there is a relay link. */
    readonly ends?: readonly [string, string]
  }[]
  readonly quotas?: readonly KeyQuota[]
  /** Those who wait for a stock are served in fair turns (default), or first come, first served. */
  readonly order?: 'fair' | 'arrival'
  /** K_cap: the most the pool holds; generation beyond it is discarded. */
  readonly capBits: number
  /** K_safe <= K_th <= K_cap. */
  readonly safeBits: number
  readonly thBits: number
  /** A level is left upwards only this far above its bound; default 0.05. */
  readonly hysteresisRatio?: number
  /** Material older than this is expired; default never. */
  readonly expiryMs?: number
  /** Parts of the stock that nobody else can spend (WIRE rule 7), shared equally where there are several stocks. */
  readonly reserve?: {
    /** Tops up any stream that has less than AUTHENTICATION_SLOTS unspent, up to that. */
    readonly authenticationBits: number
    /** For wants on behalf of the chain of the highest priority. */
    readonly topChainBits: number
    /** Channels on which that chain runs; default all. */
    readonly topChainChannels?: readonly number[]
  }
  /** Nodes that may see relayed key on its way; default all. */
  readonly relayNodes?: readonly string[]
  /** Source of the key that `link`'s QKD made: `n` fresh bytes. */
  readonly randomBytes: (n: number, link: number) => Uint8Array
  /** Source of key that no QKD made: that of local links, and what relays carry; default `randomBytes`. */
  readonly localBytes?: (n: number) => Uint8Array
}

/** Whether a number can be a position in a key stream. */
export function isSlot(slot: number): boolean {
  return Number.isInteger(slot) && slot >= 0 && slot <= MAX_SLOT
}

/** RangeError with every problem of the options. */
export function checkPoolOptions(options: KeyPoolOptions): void {
  const { capBits, safeBits, thBits, hysteresisRatio = 0.05, expiryMs = 1 } = options
  const problems: string[] = []
  if (!(Number.isSafeInteger(capBits) && capBits >= 32)) problems.push(`capBits ${capBits} is not an integer >= 32`)
  if (!(safeBits >= 0 && safeBits <= thBits)) problems.push(`safeBits ${safeBits} is not in 0..thBits`)
  if (!(thBits >= 0 && thBits <= capBits)) problems.push(`thBits ${thBits} is not in 0..capBits ${capBits}`)
  if (!(hysteresisRatio >= 0 && hysteresisRatio < 1)) problems.push(`hysteresisRatio ${hysteresisRatio} is not in 0..1`)
  if (!(expiryMs > 0)) problems.push(`expiryMs ${expiryMs} is not positive`)
  problems.push(...linkProblems(options), ...reserveProblems(options), ...quotaProblems(options))
  if (problems.length > 0) throw new RangeError(`BAD_POOL_OPTIONS: ${problems.join('; ')}`)
}

function linkProblems({ links }: KeyPoolOptions): string[] {
  const problems: string[] = []
  const seen = new Set<number>()
  const hasRelay = links.some(({ keys }) => keys === 'relay')
  for (const { link, keys, ends } of links) {
    if (!(Number.isInteger(link) && link >= 0 && link <= 32_767)) problems.push(`link ${link} is not in 0..32767`)
    if (seen.has(link)) problems.push(`link ${link} is named twice`)
    if (hasRelay && keys !== 'local' && ends === undefined) problems.push(`link ${link} has no ends to relay between`)
    seen.add(link)
  }
  return problems
}

function reserveProblems({ reserve, capBits }: KeyPoolOptions): string[] {
  if (reserve === undefined) return []
  const { authenticationBits, topChainBits } = reserve
  if (!(authenticationBits >= 0 && topChainBits >= 0)) return ['a reserve is negative']
  if (authenticationBits + topChainBits <= capBits) return []
  return [`the reserves, ${authenticationBits + topChainBits} bits, are more than capBits ${capBits}`]
}

function quotaProblems({ poolKind, quotas = [], links }: KeyPoolOptions): string[] {
  if (poolKind !== 'quota') return quotas.length > 0 ? [`quotas in a pool of kind ${poolKind}`] : []
  const problems: string[] = []
  const ids = new Set(quotas.map(({ id }) => id))
  if (quotas.length === 0) problems.push('no quotas')
  if (ids.size < quotas.length) problems.push('two quotas have the same id')
  for (const { id, weight = 1, capBits = 32 } of quotas) {
    if (!(weight > 0)) problems.push(`weight ${weight} of quota ${id} is not positive`)
    if (!(Number.isSafeInteger(capBits) && capBits >= 32)) problems.push(`capBits ${capBits} of quota ${id}`)
  }
  for (const { link, keys } of links) {
    const channels = [2 * link, 2 * link + 1]
    if (keys === 'pool' && !quotas.some(({ fromLinks }) => fromLinks === undefined || fromLinks.includes(link))) {
      problems.push(`no quota shares in the key of link ${link}`)
    }
    if (keys === 'local') continue
    for (const channel of channels) {
      if (!quotas.some((quota) => quota.channels.includes(channel))) problems.push(`channel ${channel} is in no quota`)
    }
  }
  return problems
}
