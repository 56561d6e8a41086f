/** Checks of `keys` against the topology: quotas and the links they name, and reserves. */
import { RelayMap } from '../keypool/pure.ts'
import type { Subject } from './scenario-check.ts'
import { type Problem, quote } from './scenario-source.ts'
import type { TopologyLink } from './topology.ts'

/** Name of the lab's own key manager towards outside programs. */
export const KME_ID = 'kme'

type Keys = 'pool' | 'local' | 'relay'

/** Where the key of a link comes from. */
export function keysOfLink({ scenario }: Pick<Subject, 'scenario'>, { spec }: TopologyLink): Keys {
  return (spec ?? scenario.topology.stationLink).keys
}

/** Every link that draws on the pool must be in one quota, and every QKD link must have one that shares in its key. */
export function checkQuotas(subject: Subject): readonly Problem[] {
  const { pool, quotas } = subject.scenario.keys
  if (quotas === 'auto') return []
  if (pool !== 'quota') {
    return [{ path: ['keys', 'quotas'], message: 'quotas of a pool without', found: pool, expected: 'pool: quota' }]
  }
  const keysOf = new Map(subject.links.map((link) => [link.id, keysOfLink(subject, link)]))
  const found: Problem[] = []
  const ids = new Set<string>()
  const taken = new Set<string>()
  const fed = new Set<string>()
  for (const [index, { id, links, from }] of quotas.entries()) {
    const path = ['keys', 'quotas', index]
    if (ids.has(id)) {
      found.push({ path: [...path, 'id'], message: 'duplicate quota', found: quote(id), expected: 'a name used once' })
    }
    ids.add(id)
    for (const [place, link] of links.entries()) {
      const keys = keysOf.get(link)
      const isFree = keys !== undefined && keys !== 'local' && !taken.has(link)
      taken.add(link)
      if (isFree) continue
      const message = keys === undefined ? 'unknown link' : keys === 'local' ? 'link without pool' : 'second quota'
      const expected = 'the id of a link that draws on the pool, in one quota'
      found.push({ path: [...path, 'links', place], message, found: quote(link), expected })
    }
    for (const [place, link] of (from ?? []).entries()) {
      fed.add(link)
      if (keysOf.get(link) === 'pool') continue
      const expected = 'the id of a link with keys: pool'
      found.push({ path: [...path, 'from', place], message: 'link without QKD', found: quote(link), expected })
    }
  }
  const fedByAll = quotas.some(({ from }) => from === undefined)
  for (const [link, keys] of keysOf) {
    const lacks = keys !== 'local' && !taken.has(link) ? 'draws on' : keys === 'pool' && !fedByAll && !fed.has(link)
    if (lacks === false) continue
    const expected = lacks === 'draws on' ? `a quota that ${quote(link)} draws on` : `a quota from ${quote(link)}`
    found.push({ path: ['keys', 'quotas'], message: 'link left out', found: 'none', expected })
  }
  return found
}

/** Between the ends of a relay link there must be a way over links with QKD and nodes that are trusted. */
export function checkRelays(subject: Subject): readonly Problem[] {
  const { kinds, links, scenario } = subject
  const { relayNodes } = scenario.keys
  const qkd = links.filter((link) => keysOfLink(subject, link) === 'pool')
  const map = new RelayMap(
    qkd.map(({ ends }, link) => ({ link, ends })),
    relayNodes,
  )
  const strangers = (relayNodes ?? []).flatMap((id, index): Problem[] => {
    if (kinds.has(id)) return []
    const expected = 'the id of a node in topology.nodes'
    return [{ path: ['keys', 'relayNodes', index], message: 'unknown node', found: quote(id), expected }]
  })
  const stranded = links.flatMap((link): Problem[] => {
    const [from, to] = link.ends
    if (keysOfLink(subject, link) !== 'relay' || map.route(from, to, () => true) !== undefined) return []
    const expected = `links with keys: pool that lead from ${quote(from)} to ${quote(to)}`
    return [{ path: link.path, message: 'relay without a way', found: quote(link.id), expected }]
  })
  return [...strangers, ...stranded]
}

/** Key that comes from managers: each link with QKD has its own, and nothing else happens to it. */
export function checkEtsi014(subject: Subject): readonly Problem[] {
  const { links, scenario } = subject
  const { source, etsi014 } = scenario.keys
  const path = ['keys', 'etsi014']
  if (source !== 'etsi014') {
    if (etsi014 === undefined) return []
    return [{ path, message: 'key managers without use', found: `source: ${source}`, expected: 'source: etsi014' }]
  }
  const qkd = links.filter((link) => keysOfLink(subject, link) === 'pool').map(({ id }) => id)
  const managed = (etsi014?.links ?? []).map(({ link }) => link)
  const odd = managed.flatMap((id, index): Problem[] => {
    if (qkd.includes(id) && managed.indexOf(id) === index) return []
    const message = managed.indexOf(id) < index ? 'second key manager' : 'link without QKD'
    const expected = 'the id of a link with keys: pool, once'
    return [{ path: [...path, 'links', index, 'link'], message, found: quote(id), expected }]
  })
  const left = qkd.filter((id) => !managed.includes(id))
  const missing = left.map((id) => {
    const expected = `links with an entry for ${quote(id)}`
    return {
      path: etsi014 === undefined ? ['keys', 'source'] : path,
      message: 'no key manager',
      found: 'none',
      expected,
    }
  })
  const faults = scenario.faults.map((_, index) => {
    const expected = 'keys.source: model, which alone has faults'
    return { path: ['faults', index], message: 'fault of a link that is not modelled', found: 'etsi014', expected }
  })
  return [...odd, ...missing, ...faults]
}

/** Those outside get key of links with QKD, two of them one link's, and no name twice for different things. */
export function checkServe014(subject: Subject): readonly Problem[] {
  const { pairs = [] } = subject.scenario.keys.serve014 ?? {}
  const qkd = subject.links.filter((link) => keysOfLink(subject, link) === 'pool').map(({ id }) => id)
  const seen = new Set<string>()
  return pairs.flatMap(({ link, saes }, index): Problem[] => {
    const path = ['keys', 'serve014', 'pairs', index]
    const pair = saes.toSorted().join(' ')
    const isSecond = seen.has(pair)
    seen.add(pair)
    const own = saes.find((name) => name === KME_ID || name === 'ca')
    const problem = (place: string, message: string, found: string, expected: string): Problem[] => {
      return [{ path: [...path, place], message, found: quote(found), expected }]
    }
    if (!qkd.includes(link)) return problem('link', 'link without QKD', link, 'the id of a link with keys: pool')
    if (own !== undefined) return problem('saes', 'name of our own', own, `another name than ${KME_ID} and ca`)
    if (saes[0] === saes[1] || isSecond) return problem('saes', 'pair', pair, 'two SAEs, each pair once')
    return []
  })
}

/** The reserves must leave something to all. */
export function checkReserve({ scenario: { keys } }: Subject): readonly Problem[] {
  const { authenticationBits = 0, topChainBits = 0 } = keys.reserve
  const { capBits } = keys.thresholds
  if (authenticationBits + topChainBits < capBits) return []
  const found = `${authenticationBits + topChainBits} in all`
  return [
    { path: ['keys', 'reserve'], message: 'reserves too large', found, expected: `less than capBits (${capBits})` },
  ]
}
