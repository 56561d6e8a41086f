import { cot, layoutOf, typeIdOf } from '../../protocol/index.ts'
import {
  confirmed,
  type Exchange,
  isForOriginator,
  isOfStation,
  type Received,
  refusalOf,
  type Step,
  single,
  type Waits,
} from './exchange.ts'

export type ReadOptions = { readonly ca: number; readonly ioa: number; readonly oa: number }

/**
 * Read command, C_RD_NA_1, IEC 60870-5-101, 7.4.2: answered by the object itself with cause 5 and by no confirmation.
 */
export class Read implements Exchange {
  readonly #options: ReadOptions
  readonly #waits: Waits

  constructor(options: ReadOptions, waits: Waits) {
    this.#options = options
    this.#waits = waits
  }

  begin(): Step {
    const { ca, ioa, oa } = this.#options
    const request = single('C_RD_NA_1', { cot: cot.request, ca, oa }, { ioa, value: {} })
    return { send: [request], waitMs: this.#waits.timeoutMs }
  }

  take({ header, asdu }: Received): Step | undefined {
    const { ca, ioa, oa } = this.#options
    if (!isOfStation(header.ca, ca)) return undefined
    if (header.typeId === typeIdOf('C_RD_NA_1')) {
      const isMine = isForOriginator(header.oa, oa) && (header.ioa === ioa || header.cot >= cot.unknownTypeId)
      const result = isMine ? refusalOf(header) : undefined
      return result && { isConfirmation: true, result }
    }
    if (header.cot !== cot.request || !hasAddress(header.ioa, asdu, ioa)) return undefined
    const objectCount = asdu?.objects.length ?? 1
    const reply = asdu === undefined ? {} : { reply: asdu }
    return { isConfirmation: true, result: confirmed({ objectCount, stations: [header.ca], ...reply }) }
  }

  expire(): Step {
    return { result: { kind: 'timeout', awaited: 'data', objectCount: 0 } }
  }
}

function hasAddress(first: number, asdu: Received['asdu'], ioa: number): boolean {
  if (asdu === undefined) return first === ioa
  return layoutOf(asdu.type).shape !== 'one' && asdu.objects.some((object) => object.ioa === ioa)
}
