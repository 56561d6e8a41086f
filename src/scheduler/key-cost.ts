import type { Suite } from '../runtime/contract.ts'
import type { Chain } from './chain.ts'
import type { Topology } from './topology.ts'
import { linksAlong } from './topology.ts'

/** Key bits of the Poly1305 tag of a one-time-pad message (s of Wegman-Carter; r stays for the epoch). */
export const MAC_KEY_BITS = 128
/** Key bits of one AES-128 key. */
export const AES_KEY_BITS = 128

/**
 * Key bits one message takes on one link: kappa.
 * OTP: the pad, in slots of 4 bytes, and the key of the tag: 8 ceil4(n) + 128. AES: 128 / rho.
 * @param apduBytes size n of the APDU, octets
 * @param messagesPerRekey rho, messages sealed with one AES key
 */
export function kappaBits(suite: Suite, apduBytes: number, messagesPerRekey: number): number {
  return suite === 'otp' ? 32 * Math.ceil(apduBytes / 4) + MAC_KEY_BITS : AES_KEY_BITS / messagesPerRekey
}

/** Links of a path that draw on the pool. Links that are not in the topology count as drawing on it. */
export function pooledHops(path: readonly string[], topology: Topology): number {
  let hops = 0
  for (const link of linksAlong(path, topology)) if (link?.pooled !== false) hops++
  return hops
}

/** Key the chain is expected to take from the pool on `hops` links, bit/s: kappa lambda hops. */
export function demandBps(chain: Chain, suite: Suite, hops: number, messagesPerRekey: number): number {
  return kappaBits(suite, chain.apduBytes, messagesPerRekey) * chain.ratePerS * hops
}
