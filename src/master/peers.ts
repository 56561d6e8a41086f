import { centreOctetsOf, encodeCentreAsdu } from '../protocol/index.ts'
import type { CentreTalk } from '../scheduler/index.ts'
import { encodeGrantMessage, GrantAssembler } from '../scheduler/index.ts'
import type { MasterConfig } from './config.ts'

type Peer = NonNullable<MasterConfig['peers']>[number] & { readonly assembler: GrantAssembler }

/** An ASDU for another control centre. */
export type PeerAsdu = { readonly link: number; readonly asdu: Uint8Array }

/** The other control centres: turns the policy's messages into ASDUs, and what comes from them into messages. */
export class Peers {
  readonly #originator: number
  readonly #peers: readonly Peer[]
  readonly #byLink: ReadonlyMap<number, Peer>

  constructor({ originator = 0, seat, peers = [] }: Pick<MasterConfig, 'originator' | 'seat' | 'peers'>) {
    this.#originator = originator
    this.#peers = peers.map((peer) => ({ ...peer, assembler: new GrantAssembler(peer.agent, seat?.agent ?? '') }))
    this.#byLink = new Map(this.#peers.map((peer) => [peer.link, peer]))
  }

  /** Takes an ASDU that came on a link; false when it is none from another centre. The octets are hostile. */
  take(
    from: { readonly link: number; readonly asdu: Uint8Array },
    talk: CentreTalk | undefined,
    nowMs: number,
  ): boolean {
    const peer = this.#byLink.get(from.link)
    if (peer === undefined) return false
    const octets = centreOctetsOf(from.asdu)
    const message = octets && peer.assembler.take(octets)
    if (message !== undefined) talk?.take(peer.agent, message, nowMs)
    return true
  }

  /** What the policy has to say, as ASDUs. */
  asdusOf(talk: CentreTalk): readonly PeerAsdu[] {
    return talk.takeMessages().flatMap(({ to, message }) => {
      const peer = this.#peers.find(({ agent }) => agent === to)
      if (peer === undefined) return []
      const { link, originator: ca } = peer
      return encodeGrantMessage(message).map((part) => {
        return { link, asdu: encodeCentreAsdu({ oa: this.#originator, ca }, part) }
      })
    })
  }
}
