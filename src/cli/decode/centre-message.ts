/** Messages between control centres (ASDUs of type 136), as `q104 decode` shows them. */
import { centreOctetsOf, peekAsdu } from '../../protocol/index.ts'
import { GrantAssembler, type GrantMessage, peekGrantPart } from '../../scheduler/index.ts'

export type CentrePart = {
  readonly oa: number
  readonly ca: number
  readonly kind: GrantMessage['kind']
  readonly round: number
  /** Of `parts`, from 1. */
  readonly part: number
  readonly parts: number
  /** What it says, where one part says it all. */
  readonly says: Readonly<Record<string, string | number>>
}

/** Undefined for any other ASDU. */
export function centrePartOf(asdu: Uint8Array): CentrePart | undefined {
  const view = peekAsdu(asdu)
  const octets = centreOctetsOf(asdu)
  const head = octets && peekGrantPart(octets)
  if (view === undefined || octets === undefined || head === undefined) return undefined
  const { kind, round, part, parts } = head
  const message = parts === 1 ? new GrantAssembler('', '').take(octets) : undefined
  return {
    oa: view.oa,
    ca: view.ca,
    kind,
    round,
    part: part + 1,
    parts,
    says: message === undefined ? {} : saysOf(message),
  }
}

/** `grant  round 12  OA 1  CA 2  grantBits 4096  riskPriceBits 0.00213` */
export function centrePartText({ kind, round, oa, ca, part, parts, says }: CentrePart): string {
  const words = Object.entries(says).map(([name, value]) => {
    return `${name} ${typeof value === 'number' ? Number(value.toPrecision(6)) : value}`
  })
  const place = parts === 1 ? [] : [`part ${part} of ${parts}`]
  return [kind, `round ${round}`, `OA ${oa}`, `CA ${ca}`, ...place, ...words].join('  ')
}

function saysOf(message: GrantMessage): CentrePart['says'] {
  switch (message.kind) {
    case 'call': {
      const { asks, riskPriceBits, capBits } = message
      return { asks, riskPriceBits, capBits }
    }
    case 'offer': {
      const { demandBps, mostBits, varianceBits2, answers } = message.offer
      const size =
        answers.form === 'points' ? answers.points.length : answers.form === 'chains' ? answers.chains.length : 0
      return { demandBps, mostBits, varianceBits2, ...(answers.form !== 'demand' && { [answers.form]: size }) }
    }
    case 'grant': {
      const { grantBits, riskPriceBits, states } = message
      return { grantBits, riskPriceBits, ...(states && { states: states.join('') }) }
    }
    case 'taken': {
      const { keyBits, varianceBits2 } = message
      return { keyBits, varianceBits2 }
    }
  }
}
