/** The point database of an RTU: the latest value of each point, as its IED reported it. */
import { type Asdu, asduOf, encodeAsdu, type Value } from '../protocol/index.ts'

type Point = { readonly link: number } & (
  | { readonly kind: 'measured'; readonly value: Value<'M_ME_NC_1'> }
  | { readonly kind: 'single'; readonly value: Value<'M_SP_NA_1'> }
)

/** Objects that fit one ASDU of 249 octets: 3 octets of address and the elements, behind 6 of header. */
const MEASURED_PER_ASDU = 30
const SINGLE_PER_ASDU = 60

/** Latest values by information object address. */
export class Points {
  readonly #points = new Map<number, Point>()

  /** Takes the values of an ASDU from the IED on `link`; types other than single points and short floats carry none. */
  take(asdu: Asdu, link: number): void {
    if (asdu.type === 'M_ME_TF_1' || asdu.type === 'M_ME_NC_1') {
      for (const { ioa, value } of asdu.objects) {
        this.#points.set(ioa, { kind: 'measured', link, value: { value: value.value, qds: value.qds } })
      }
    } else if (asdu.type === 'M_SP_TB_1' || asdu.type === 'M_SP_NA_1') {
      for (const { ioa, value } of asdu.objects)
        this.#points.set(ioa, { kind: 'single', link, value: { siq: value.siq } })
    }
  }

  has(ioa: number): boolean {
    return this.#points.has(ioa)
  }

  /**
   * ASDUs with the values of these addresses (all by default) under one cause. Without time tags, as an answer to an
   * interrogation has none; not topical where `isUp` says that the IED cannot be reached.
   */
  report(
    header: { readonly cot: number; readonly ca: number },
    isUp: (link: number) => boolean,
    ioa?: number,
  ): Uint8Array[] {
    const measured: { ioa: number; value: Value<'M_ME_NC_1'> }[] = []
    const single: { ioa: number; value: Value<'M_SP_NA_1'> }[] = []
    for (const [address, point] of this.#points) {
      if (ioa !== undefined && ioa !== address) continue
      const isOld = !isUp(point.link)
      if (point.kind === 'measured') {
        const { value, qds } = point.value
        measured.push({ ioa: address, value: { value, qds: { ...qds, notTopical: qds.notTopical || isOld } } })
      } else {
        const { siq } = point.value
        single.push({ ioa: address, value: { siq: { ...siq, notTopical: siq.notTopical || isOld } } })
      }
    }
    return [
      ...parts(measured, MEASURED_PER_ASDU).map((objects) => encodeAsdu(asduOf('M_ME_NC_1', { ...header, objects }))),
      ...parts(single, SINGLE_PER_ASDU).map((objects) => encodeAsdu(asduOf('M_SP_NA_1', { ...header, objects }))),
    ]
  }
}

function parts<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))
}
