/** Who sits where in a game between control centres. */
import type { MasterConfig } from '../master/index.ts'
import { demandBps, pooledHops, topology } from '../scheduler/index.ts'
import { mastersOf, originatorOf } from './masters.ts'
import type { Draft } from './plan-draft.ts'

/** Seat and peers of a master; nothing where there is no game, or only one master. */
export function seatOf(draft: Draft, id: string): Pick<MasterConfig, 'seat' | 'peers'> {
  const { scenario, linkOf } = draft
  const { policy, game } = scenario.scheduler
  const masters = mastersOf(scenario)
  if (policy !== 'game' || game === undefined || masters.length === 1) return {}
  const agents = game.agents.flatMap(({ id: agent, nodes }) => {
    const master = nodes.find((node) => masters.includes(node))
    return master === undefined ? [] : [{ agent, master, demandBps: demandOf(draft, master) }]
  })
  const [leader, ...followers] = agents
  const own = agents.find(({ master }) => master === id)
  if (leader === undefined || own === undefined) return {}
  const peerOf = ({ agent, master }: { readonly agent: string; readonly master: string }) => {
    return { agent, link: linkOf(id, master), originator: originatorOf(scenario, master) }
  }
  if (own === leader) {
    const known = followers.map(({ agent, demandBps }) => ({ id: agent, demandBps }))
    return { seat: { kind: 'leader', agent: own.agent, followers: known }, peers: followers.map(peerOf) }
  }
  const allBps = agents.reduce((sum, { demandBps }) => sum + demandBps, 0)
  const share = allBps > 0 ? own.demandBps / allBps : 1 / agents.length
  return { seat: { kind: 'follower', agent: own.agent, leader: leader.agent, share }, peers: [peerOf(leader)] }
}

/** What the chains of a master take with the one-time pad on their first paths, bit/s. */
function demandOf({ chains, links, scenario }: Draft, master: string): number {
  const table = topology(links.map(({ link, ends, keys }) => ({ link, ends, pooled: keys !== 'local' })))
  return chains
    .filter(({ chain }) => chain.paths[0]?.[0] === master)
    .reduce((sum, { chain }) => {
      return sum + demandBps(chain, 'otp', pooledHops(chain.paths[0] ?? [], table), scenario.keys.aesMaxMessages)
    }, 0)
}
