/** Where the nodes and links of a lab stand in the diagram: centre, gateways, stations with their devices, left to right. Pure. */
import type { LabHead } from './state.ts'

export type PlacedNode = {
  readonly id: string
  readonly kind: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export type PlacedLink = {
  readonly link: number
  readonly id: string
  /** Path data of the line. The label's two lines stand on it and below it, or both beside it. */
  readonly line: string
  readonly label: { readonly x: number; readonly y: number; readonly gap: number }
  /** Middle of the line, for a mark. */
  readonly middle: { readonly x: number; readonly y: number }
  /** Between a station and its device: drawn as part of the device. */
  readonly isStation: boolean
}

export type Layout = {
  readonly width: number
  readonly height: number
  readonly nodes: readonly PlacedNode[]
  readonly links: readonly PlacedLink[]
}

const NARROW_PX = 520
const PAD_PX = 8
const ROW_PX = 44
const CHIP = { height: 20, gap: 6, perChar: 6.4, pad: 14 } as const

/** Lays a lab out in a given width; the height follows from the number of stations. */
export function layoutOf(head: Pick<LabHead, 'nodes' | 'links'>, width: number): Layout {
  const isNarrow = width < NARROW_PX
  const of = (kind: string) => head.nodes.filter((node) => node.kind === kind)
  const [masters, gateways, rtus] = [of('master'), of('gateway'), of('rtu')]
  const neighbours = neighboursOf(head.links)
  const gatewayIds = gateways.map(({ id }) => id)
  const home = (id: string): number => {
    const index = gatewayIds.findIndex((gateway) => neighbours.get(id)?.has(gateway) === true)
    return index < 0 ? gatewayIds.length : index
  }
  const stations = [...rtus].sort((a, b) => home(a.id) - home(b.id))
  const devicesOf = (rtu: string) =>
    head.nodes.filter(({ id, kind }) => kind === 'ied' && neighbours.get(rtu)?.has(id) === true)

  const box = isNarrow ? { width: 44, height: 22 } : { width: 64, height: 26 }
  const columns = isNarrow
    ? { master: PAD_PX, gateway: Math.round(width * 0.28), rtu: Math.round(width * 0.55) }
    : { master: PAD_PX, gateway: Math.round(width * 0.26), rtu: Math.round(width * 0.55) }
  const nodes: PlacedNode[] = []
  let y = PAD_PX + 10
  for (const { id } of stations) {
    const chips = chipsOf(
      devicesOf(id).map((node) => node.id),
      columns.rtu + box.width + 14,
      width - PAD_PX,
      isNarrow,
    )
    const rowHeight = Math.max(ROW_PX, chips.height + 18)
    const middle = y + rowHeight / 2
    nodes.push({ id, kind: 'rtu', x: columns.rtu, y: middle - box.height / 2, ...box })
    for (const chip of chips.chips) nodes.push({ ...chip, kind: 'ied', y: middle - chips.height / 2 + chip.y })
    y += rowHeight
  }
  const height = Math.max(y + PAD_PX, PAD_PX * 2 + ROW_PX * Math.max(1, gateways.length))
  const middleOf = (id: string): number => {
    const node = nodes.find((placed) => placed.id === id)
    return node === undefined ? height / 2 : node.y + node.height / 2
  }
  const gatewayYs = spread(
    gateways.map(({ id }) =>
      mean(
        stations.filter((rtu) => neighbours.get(rtu.id)?.has(id) === true).map((rtu) => middleOf(rtu.id)),
        height / 2,
      ),
    ),
    ROW_PX,
    { from: PAD_PX + box.height / 2, to: height - PAD_PX - box.height / 2 },
  )
  for (const [index, { id }] of gateways.entries()) {
    nodes.push({ id, kind: 'gateway', x: columns.gateway, y: (gatewayYs[index] ?? 0) - box.height / 2, ...box })
  }
  // A centre alone stands amid the gateways, one of several beside the gateway that its first link goes to.
  const trunkYs = masters.map(({ id }) => {
    const first = [...(neighbours.get(id) ?? [])].find((neighbour) => gatewayIds.includes(neighbour)) ?? ''
    return gatewayYs[gatewayIds.indexOf(first)] ?? height / 2
  })
  const bounds = { from: PAD_PX + box.height / 2, to: height - PAD_PX - box.height / 2 }
  const masterYs = masters.length === 1 ? [mean(gatewayYs, height / 2)] : spread(trunkYs, ROW_PX, bounds)
  for (const [index, { id }] of masters.entries()) {
    nodes.push({ id, kind: 'master', x: columns.master, y: (masterYs[index] ?? 0) - box.height / 2, ...box })
  }
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const links = head.links.flatMap(({ link, id, ends: [a, b] }) => {
    const [from, to] = [byId.get(a), byId.get(b)]
    return from === undefined || to === undefined ? [] : [{ link, id, ...lineOf(from, to) }]
  })
  return { width, height, nodes, links }
}

type Chip = {
  readonly id: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** Devices in rows beside their station; without names where there is no room for them. */
function chipsOf(ids: readonly string[], fromX: number, toX: number, isNarrow: boolean) {
  const chips: Chip[] = []
  let [x, y] = [fromX, 0]
  const height = isNarrow ? 14 : CHIP.height
  for (const id of ids) {
    const width = isNarrow ? 14 : Math.round(id.length * CHIP.perChar + CHIP.pad)
    if (x > fromX && x + width > toX) [x, y] = [fromX, y + height + CHIP.gap]
    chips.push({ id, x, y, width, height })
    x += width + CHIP.gap
  }
  return { chips, height: ids.length === 0 ? 0 : y + height }
}

function lineOf(from: PlacedNode, to: PlacedNode): Omit<PlacedLink, 'link' | 'id'> {
  if (to.kind === 'ied' || from.kind === 'ied') {
    const device = to.kind === 'ied' ? to : from
    const station = to.kind === 'ied' ? from : to
    const y = device.y + device.height / 2
    const x = station.x + station.width
    const stationY = station.y + station.height / 2
    const turn = x + 7
    const line = `M${x} ${stationY}H${turn}V${y}H${device.x}`
    return {
      line,
      label: { x: device.x, y, gap: 0 },
      middle: { x: device.x + device.width / 2, y },
      isStation: true,
    }
  }
  if (Math.abs(from.x - to.x) < 2) {
    // Side by side in one column: round the left side.
    const [top, bottom] = from.y < to.y ? [from, to] : [to, from]
    const x = top.x + top.width / 2
    const [y1, y2] = [top.y + top.height, bottom.y]
    return {
      line: `M${x} ${y1}V${y2}`,
      label: { x: x - 8, y: (y1 + y2) / 2 - 3, gap: 14 },
      middle: { x, y: (y1 + y2) / 2 },
      isStation: false,
    }
  }
  const [left, right] = from.x < to.x ? [from, to] : [to, from]
  const [x1, y1, x2, y2] = [left.x + left.width, left.y + left.height / 2, right.x, right.y + right.height / 2]
  // It turns near its left end and is level from there on, so that a label stands on it.
  const turn = x1 + Math.min(36, (x2 - x1) * 0.35)
  const bend = (x1 + turn) / 2
  return {
    line: `M${x1} ${y1}C${bend + 6} ${y1} ${bend - 6} ${y2} ${turn} ${y2}H${x2}`,
    label: { x: x2 - 6, y: y2 - 5, gap: 19 },
    middle: { x: turn + 8, y: y2 },
    isStation: false,
  }
}

function neighboursOf(links: LabHead['links']): ReadonlyMap<string, ReadonlySet<string>> {
  const map = new Map<string, Set<string>>()
  const add = (from: string, to: string): void => {
    const set = map.get(from) ?? new Set<string>()
    map.set(from, set.add(to))
  }
  for (const { ends } of links) {
    add(ends[0], ends[1])
    add(ends[1], ends[0])
  }
  return map
}

function mean(values: readonly number[], otherwise: number): number {
  return values.length === 0 ? otherwise : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Keeps values at least `gap` apart, in their order, within the bounds as far as there is room. */
function spread(values: readonly number[], gap: number, { from, to }: { from: number; to: number }): readonly number[] {
  const placed: number[] = []
  for (const value of values) placed.push(Math.max(value, from, (placed.at(-1) ?? Number.NEGATIVE_INFINITY) + gap))
  const over = Math.max(0, (placed.at(-1) ?? 0) - to)
  return placed.map((value) => value - over)
}
