/** A link between two nodes that trust each other's key store: an edge over which key can be relayed. */
export type RelayEdge = { readonly link: number; readonly ends: readonly [string, string] }

type Step = { readonly link: number; readonly to: string }

/**
 * Finds the links over which key is carried between two nodes that share no QKD link: the fewest hops, because every hop
 * costs as much key as is carried; of equal ones the one with the lower link numbers from the far end on.
 */
export class RelayMap {
  readonly #steps = new Map<string, Step[]>()
  readonly #trusted: ReadonlySet<string> | undefined

  /** `trusted`: the nodes that may see relayed key on its way; default all. */
  constructor(edges: readonly RelayEdge[], trusted?: readonly string[]) {
    this.#trusted = trusted && new Set(trusted)
    for (const { link, ends } of [...edges].sort((a, b) => a.link - b.link)) {
      const [first, second] = ends
      this.#stepsOf(first).push({ link, to: second })
      this.#stepsOf(second).push({ link, to: first })
    }
  }

  /** Links from one node to the other, in order, all of which are `usable`; undefined if there is no such path. */
  route(from: string, to: string, usable: (link: number) => boolean): readonly number[] | undefined {
    const cameBy = new Map<string, { readonly node: string; readonly link: number }>()
    const border = [from]
    for (let node = border.shift(); node !== undefined && node !== to; node = border.shift()) {
      if (node !== from && this.#trusted?.has(node) === false) continue
      for (const step of this.#steps.get(node) ?? []) {
        if (step.to === from || cameBy.has(step.to) || !usable(step.link)) continue
        cameBy.set(step.to, { node, link: step.link })
        border.push(step.to)
      }
    }
    const links: number[] = []
    for (let at = cameBy.get(to); at !== undefined; at = cameBy.get(at.node)) links.unshift(at.link)
    return links.length > 0 ? links : undefined
  }

  #stepsOf(node: string): Step[] {
    const known = this.#steps.get(node)
    if (known !== undefined) return known
    const steps: Step[] = []
    this.#steps.set(node, steps)
    return steps
  }
}

/**
 * Carries key over a path of trusted nodes, one-time pad by one-time pad: each hop's two ends share a pad as long as the key;
 * the near one sends key XOR pad, the far one takes the pad off again and sends on. Gives the key as the last node has it.
 * The pads are overwritten, so none can serve twice. RangeError for a pad that is not as long as the key.
 *
 * @param onHop Sees what travels on each hop: all that an eavesdropper gets.
 */
export function carryHopByHop(
  key: Uint8Array,
  pads: readonly Uint8Array[],
  onHop: (hop: number, cipher: Uint8Array) => void = () => {},
): Uint8Array {
  const carried = new Uint8Array(key)
  for (const [hop, pad] of pads.entries()) {
    if (pad.length !== key.length)
      throw new RangeError(`BAD_PAD of ${pad.length} bytes for ${key.length} on hop ${hop}`)
    xorInto(carried, pad)
    onHop(hop, carried)
    xorInto(carried, pad)
    pad.fill(0)
  }
  return carried
}

function xorInto(bytes: Uint8Array, pad: Uint8Array): void {
  for (let index = 0; index < bytes.length; index++) bytes[index] = (bytes[index] ?? 0) ^ (pad[index] ?? 0)
}
