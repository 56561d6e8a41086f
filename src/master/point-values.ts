import { decodeAsdu, WireError } from '../protocol/index.ts'

type PointValue = {
  readonly ioa: number
  readonly value: number
  readonly tagWallMs: number
  readonly isValid: boolean
}

/** Measured values and single points of an ASDU; none for other types and for octets that are no ASDU. */
export function valuesOf(octets: Uint8Array, wallMs: number): readonly PointValue[] {
  try {
    const asdu = decodeAsdu(octets)
    switch (asdu.type) {
      case 'M_ME_TF_1':
      case 'M_ME_NC_1':
        return asdu.objects.map(({ ioa, value: { value, qds, ...rest } }) => {
          const isValid = Number.isFinite(value) && !qds.invalid && !qds.notTopical
          return { ioa, value, tagWallMs: tagOf(rest, wallMs), isValid }
        })
      case 'M_SP_TB_1':
      case 'M_SP_NA_1':
        return asdu.objects.map(({ ioa, value: { siq, ...rest } }) => {
          const isValid = !siq.invalid && !siq.notTopical
          return { ioa, value: siq.on ? 1 : 0, tagWallMs: tagOf(rest, wallMs), isValid }
        })
      default:
        return []
    }
  } catch (error) {
    if (error instanceof WireError) return []
    throw error
  }
}

/** The time tag if there is a valid one, else the time of arrival. */
function tagOf(
  tagged: { readonly time?: { readonly wallMs: number; readonly invalid: boolean } },
  wallMs: number,
): number {
  return tagged.time === undefined || tagged.time.invalid ? wallMs : tagged.time.wallMs
}
