import type { LabNode, NodeEffect, NodeInput, Wake } from '../runtime/contract.ts'
import type { RtuConfig } from './config.ts'
import { RtuNode } from './rtu-node.ts'
import type { StreamEffect } from './station/contract.ts'

/** A remote terminal unit without its 104/TCP face. See `RtuNode`. */
export class Rtu implements LabNode {
  readonly #node: RtuNode

  /** RangeError if two IEDs own the same address, and for whatever a station refuses. */
  constructor(config: RtuConfig) {
    this.#node = new RtuNode(config)
  }

  get wakeAtMs(): number | undefined {
    return this.#node.wakeAtMs
  }

  handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    const effects = this.#node.handle(input, nowMs)
    return effects.every(isNodeEffect) ? effects : effects.filter(isNodeEffect)
  }
}

/** Without streams there are no others. */
function isNodeEffect(effect: NodeEffect | StreamEffect): effect is NodeEffect {
  return effect.kind !== 'write' && effect.kind !== 'close'
}
