/** A lab in virtual time whose datagrams and keys are recorded, as `q104 run` with capture and key log records a live one. */
import { planLab } from '../../netns/index.ts'
import { type LabPlan, parseScenario, planOf } from '../../src/experiment/index.ts'
import { labNodeOf } from '../../src/experiment/world.ts'
import { GridNode } from '../../src/grid/index.ts'
import { KeyServerNode } from '../../src/keypool/pure.ts'
import { KEY_LOG_HEADER } from '../../src/protocol/index.ts'
import type { LabNode, NodeEffect, NodeInput, Wake } from '../../src/runtime/contract.ts'
import { rawUdpPacket } from '../../src/runtime/index.ts'
import { PcapngWriter } from '../../src/runtime/pcapng.ts'
import { type Datagram, LinkModelNode, QkdLink, randomStream, World, type WorldEvent } from '../../src/sim/index.ts'

const Q3P_PORT = 10_104
/** 2026-01-01 00:00 UTC, when the wall clock of a virtual lab starts. */
const START_WALL_MS = 1_767_225_600_000
/** Time to close the links after the run, ms. */
const DRAIN_MS = 2_000

/** A datagram that an attacker puts on a link, and what is written beside it in the capture. */
export type Injected = Datagram & { readonly comment: string }

/** Somebody who sees every datagram as it is sent, and puts others on the link at certain times. */
export type Attacker = {
  readonly tap: (datagram: Datagram, nowMs: number) => void
  /** In order of time. */
  readonly strikes: readonly { readonly atMs: number; readonly make: () => Injected }[]
}

export type Recording = {
  /** A pcapng file, one interface a link, frames as they left their sender. */
  readonly pcapng: Uint8Array
  readonly keyLog: string
  readonly events: readonly WorldEvent[]
}

/** Runs a scenario (YAML) from start to end. The same scenario gives the same octets. */
export function recordLab(yaml: string, file: string, attacker?: Attacker): Recording {
  const plan = withKeyLog(planOf(parseScenario(yaml, file)))
  const { seed } = plan
  const net = planLab({ lab: plan.name, nodes: plan.nodes, links: plan.links }, 'netns')
  const blocks: Uint8Array[] = []
  const section = { userAppl: 'q104', comment: `${file} in virtual time, seed ${seed}` }
  const writer = new PcapngWriter((block) => blocks.push(block), section)
  const wires = new Map(
    net.links.map(({ link, name, ends }) => {
      const description = `link ${link}: ${ends[0].address} - ${ends[1].address}`
      return [link, { ends, interfaceId: writer.addInterface({ name, description }) }]
    }),
  )
  const write = ({ link, fromEnd, bytes }: Datagram, nowMs: number, comment?: string): void => {
    const wire = wires.get(link)
    if (wire === undefined) throw new RangeError(`no link ${link}`)
    const [source, destination] = fromEnd === 0 ? wire.ends : [wire.ends[1], wire.ends[0]]
    const ends = { sourceAddress: source.address, destinationAddress: destination.address }
    const packet = rawUdpPacket({ ...ends, sourcePort: Q3P_PORT, destinationPort: Q3P_PORT }, bytes)
    const timestampNs = BigInt(Math.round((START_WALL_MS + nowMs) * 1000)) * 1000n
    const said = comment !== undefined && { comment }
    writer.frame({ interfaceId: wire.interfaceId, timestampNs, bytes: packet, ...said })
  }

  const keyLines: string[] = [KEY_LOG_HEADER]
  const events: WorldEvent[] = []
  const keys = randomStream(seed, 'keys')
  const { pool, qkdLinks, initial } = plan.keyserver
  const links = qkdLinks.map((link) => new QkdLink(link, randomStream(seed, `qkd ${link.link}`)))
  const world = new World({
    seed,
    startWallMs: START_WALL_MS,
    nodes: new Map(plan.nodes.map((node) => [node.id, new LoggedNode(labNodeOf(node, plan, seed), keyLines)])),
    links: plan.links.map(({ link, ends, law }) => ({ link, ends, law })),
    keyServer: new KeyServerNode({ ...pool, randomBytes: (n) => keys.bytes(n) }),
    grid: new GridNode(plan.grid),
    linkModel: withStock(new LinkModelNode({ links }), initial),
    statusTo: plan.nodes.filter(({ kind }) => kind === 'master').map(({ id }) => id),
    onEvent: (event) => void events.push(event),
    onDatagram: (datagram, nowMs) => {
      write(datagram, nowMs)
      attacker?.tap(datagram, nowMs)
      return 'pass'
    },
  })
  for (const { atMs, make } of attacker?.strikes ?? []) {
    world.runUntil(atMs)
    const { comment, ...injected } = make()
    write(injected, atMs, comment)
    world.inject(injected)
  }
  world.runUntil(plan.durationS * 1000)
  world.drain(DRAIN_MS)
  return { pcapng: Buffer.concat(blocks), keyLog: `${keyLines.join('\n')}\n`, events }
}

/** The plan with every link told to emit its key. */
function withKeyLog(plan: LabPlan): LabPlan {
  const logged = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(logged)
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value).map(([name, part]) => [name, logged(part)])
    const isLinkEnd = 'aesMaxMessages' in value && 'end' in value
    return { ...Object.fromEntries(entries), ...(isLinkEnd && { keyLog: true }) }
  }
  return { ...plan, nodes: logged(plan.nodes) as LabPlan['nodes'] }
}

class LoggedNode implements LabNode {
  readonly #node: LabNode
  readonly #lines: string[]

  constructor(node: LabNode, lines: string[]) {
    this.#node = node
    this.#lines = lines
  }

  get wakeAtMs(): number | undefined {
    return this.#node.wakeAtMs
  }

  handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    const effects = this.#node.handle(input, nowMs)
    for (const effect of effects) if (effect.kind === 'keyLog') this.#lines.push(effect.record.line())
    return effects
  }
}

/** A link model that hands over, at its start, the key made before the run. */
function withStock(model: LinkModelNode, initial: LabPlan['keyserver']['initial']): LinkModelNode {
  const handle = model.handle.bind(model)
  model.handle = (input, nowMs) => {
    const effects = handle(input, nowMs)
    if (input.kind !== 'start') return effects
    return [...initial.map(({ link, bits }) => ({ kind: 'generated' as const, link, bits })), ...effects]
  }
  return model
}
