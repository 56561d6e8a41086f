/** The key server's part of a plan: the pool, the QKD links that fill it, and what happens to them. */
import type { KeyQuota } from '../keypool/pure.ts'
import type { Disturbance } from '../sim/index.ts'
import type { Draft } from './plan-draft.ts'
import type { PlanEtsi014, PlanKeyServer, PlanLink, PlanServe014 } from './plan-types.ts'
import type { Scenario } from './scenario-schema.ts'

/** Key comes in slots of 4 bytes. */
const SLOT_BITS = 32

type Chains = Draft['chains']

/** Options of key server and link models; the links with `keys: local` have no model. */
export function keyServerOf(scenario: Scenario, links: readonly PlanLink[], chains: Chains): PlanKeyServer {
  const { pool, order, thresholds, expiryS, linkModel, initialBits, relayNodes, source, etsi014, serve014 } =
    scenario.keys
  // Key that comes from elsewhere has no model, and none of it is here before the run.
  const qkd = links.filter(({ keys }) => keys === 'pool' && source === 'model')
  const wholeBits = Math.floor(initialBits ?? thresholds.capBits / 2)
  const { breakDurationS, ...model } = linkModel
  const byId = new Map(scenario.topology.links.map((spec) => [spec.id ?? spec.between.join('-'), spec]))
  return {
    pool: {
      poolKind: pool,
      order,
      links: links.map(({ link, ends, keys }) => ({ link, ends, keys })),
      capBits: Math.floor(thresholds.capBits),
      safeBits: Math.floor(thresholds.safeBits),
      thBits: Math.floor(thresholds.thBits),
      expiryMs: expiryS * 1000,
      reserve: reserveOf(scenario, links, chains),
      ...(relayNodes !== undefined && { relayNodes }),
      ...(pool === 'quota' && { quotas: quotasOf(scenario, links, chains) }),
    },
    qkdLinks: qkd.map(({ link, id, lengthKm, law }) => {
      const rateModel = byId.get(id)?.rateModel
      return {
        link,
        lengthKm,
        ...model,
        ...(rateModel === undefined ? {} : { rateModel }),
        breakDurationS: [breakDurationS[0], breakDurationS[1]] as const,
        delayMs: law.delayMs,
        disturbances: disturbancesOf(scenario, id),
      }
    }),
    ...(serve014 !== undefined && { serve014: serve014Of(serve014, links) }),
    ...(source === 'etsi014' && etsi014 !== undefined && { etsi014: etsi014Of(etsi014, links) }),
    initial: qkd.map(({ link }) => ({ link, bits: Math.floor(wholeBits / qkd.length / SLOT_BITS) * SLOT_BITS })),
  }
}

function serve014Of(
  { listen, pairs, keySizeBits }: NonNullable<Scenario['keys']['serve014']>,
  links: readonly PlanLink[],
): PlanServe014 {
  const [host = '', port = ''] = listen.split(':')
  const numbers = new Map(links.map(({ id, link }) => [id, link]))
  return {
    listen: { host, port: Number(port) },
    pairs: pairs.flatMap(({ link: id, saes }) => {
      const link = numbers.get(id)
      return link === undefined ? [] : [{ link, saes }]
    }),
    keySizeBits,
  }
}

function etsi014Of(
  { links: managed, pollMs }: NonNullable<Scenario['keys']['etsi014']>,
  links: readonly PlanLink[],
): PlanEtsi014 {
  return {
    pollMs,
    links: managed.flatMap(({ link: id, master, slave, keySizeBits }) => {
      const planned = links.find((link) => link.id === id)
      if (planned === undefined) return []
      const { link, law } = planned
      return [{ link, delayMs: law.delayMs, master, slave, ...(keySizeBits !== undefined && { keySizeBits }) }]
    }),
  }
}

/** Priority of the most urgent chains; undefined when there are none. */
export function topPriorityOf(chains: Chains): number | undefined {
  return chains.length === 0 ? undefined : Math.min(...chains.map(({ chain }) => chain.priority))
}

/** The part of the cap that each reserve is, where the scenario does not say. */
const RESERVE_RATIO = 1 / 32

function reserveOf(
  { keys }: Scenario,
  links: readonly PlanLink[],
  chains: Chains,
): NonNullable<PlanKeyServer['pool']['reserve']> {
  // A private stock is a reserve already.
  const defaultBits = keys.pool === 'quota' ? 0 : Math.floor(keys.thresholds.capBits * RESERVE_RATIO)
  const { authenticationBits = defaultBits, topChainBits = defaultBits } = keys.reserve
  const top = topPriorityOf(chains)
  const paths = chains.flatMap(({ chain }) => (chain.priority === top ? chain.paths : []))
  const topLinks = links.filter((link) => link.keys !== 'local' && paths.some((path) => isOn(link, path)))
  return { authenticationBits, topChainBits, topChainChannels: channelsOf(topLinks) }
}

function quotasOf({ keys }: Scenario, links: readonly PlanLink[], chains: Chains): readonly KeyQuota[] {
  const { quotas, thresholds } = keys
  const named = quotas === 'auto' ? automaticQuotas(links, chains) : quotas
  const allWeights = named.reduce((sum, { weight }) => sum + weight, 0)
  const byId = new Map(links.map((link) => [link.id, link]))
  const linksOf = (ids: readonly string[]): PlanLink[] => ids.flatMap((id) => byId.get(id) ?? [])
  return named.map(({ id, links, from, weight, capBits = (thresholds.capBits * weight) / allWeights }) => ({
    id,
    channels: channelsOf(linksOf(links)),
    ...(from !== undefined && { fromLinks: linksOf(from).map(({ link }) => link) }),
    weight,
    capBits: Math.max(SLOT_BITS, Math.floor(capBits)),
  }))
}

type Quota = Exclude<Scenario['keys']['quotas'], 'auto'>[number]

/** A link that no chain uses gets so much of what a chain gets. */
const IDLE_WEIGHT = 0.25

/** Every chain has the same part, which it spreads over the hops of its path that spend the pool's key. */
function automaticQuotas(links: readonly PlanLink[], chains: Chains): readonly Quota[] {
  const spending = links.filter(({ keys }) => keys !== 'local')
  const weights = new Map(spending.map(({ link }) => [link, 0]))
  for (const { chain } of chains) {
    const [path = []] = chain.paths
    const hops = spending.filter((link) => isOn(link, path))
    for (const { link } of hops) weights.set(link, (weights.get(link) ?? 0) + 1 / hops.length)
  }
  return spending.map(({ link, id }) => ({ id, links: [id], weight: weights.get(link) || IDLE_WEIGHT }))
}

function isOn({ ends: [a, b] }: PlanLink, path: readonly string[]): boolean {
  return path.some((node, index) => {
    const next = path[index + 1]
    return (node === a && next === b) || (node === b && next === a)
  })
}

function channelsOf(links: readonly PlanLink[]): number[] {
  return links.flatMap(({ link }) => [2 * link, 2 * link + 1])
}

function disturbancesOf({ faults }: Scenario, id: string): readonly Disturbance[] {
  return faults.filter(({ link }) => link === id).map(disturbanceOf)
}

function disturbanceOf(fault: Scenario['faults'][number]): Disturbance {
  const span = { fromMs: fault.atS * 1000, toMs: (fault.atS + fault.forS) * 1000 }
  switch (fault.kind) {
    case 'cutLink':
      return { ...span, kind: 'cut' }
    case 'emi':
      return { ...span, kind: 'emi', errorRatio: fault.errorRatio }
    case 'attenuation':
      return { ...span, kind: 'attenuation', addedDb: fault.addedDb }
  }
}
