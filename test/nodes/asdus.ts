/** ASDUs the node tests send and look for. */
import { asduOf, cot, cp56, encodeAsdu, peekAsdu } from '../../src/protocol/index.ts'
import { type Peer, WALL_MS } from './harness.ts'

const direct = { on: true, qu: 0, select: false }
const good = { blocked: false, substituted: false, notTopical: false, invalid: false }

export const trip = (
  ca: number,
  ioa: number,
  more: { cot?: number; on?: boolean; select?: boolean } = {},
): Uint8Array => {
  const sco = { ...direct, on: more.on ?? true, select: more.select ?? false }
  return encodeAsdu(asduOf('C_SC_NA_1', { cot: more.cot ?? cot.activation, ca, objects: [{ ioa, value: { sco } }] }))
}

export const setpoint = (ca: number, ioa: number, value: number): Uint8Array => {
  const qos = { ql: 0, select: false }
  return encodeAsdu(asduOf('C_SE_NC_1', { cot: cot.activation, ca, objects: [{ ioa, value: { value, qos } }] }))
}

export const interrogation = (ca: number, qoi = 20): Uint8Array =>
  encodeAsdu(asduOf('C_IC_NA_1', { cot: cot.activation, ca, objects: [{ ioa: 0, value: { qoi } }] }))

export const clock = (ca: number, wallMs: number): Uint8Array =>
  encodeAsdu(asduOf('C_CS_NA_1', { cot: cot.activation, ca, objects: [{ ioa: 0, value: { time: cp56(wallMs) } }] }))

export const reading = (ca: number, ioa: number): Uint8Array =>
  encodeAsdu(asduOf('C_RD_NA_1', { cot: cot.request, ca, objects: [{ ioa, value: {} }] }))

export const measured = (ca: number, ioa: number, value: number, cause: number = cot.spontaneous): Uint8Array => {
  const object = { ioa, value: { value, qds: { ...good, overflow: false }, time: cp56(WALL_MS) } }
  return encodeAsdu(asduOf('M_ME_TF_1', { cot: cause, ca, objects: [object] }))
}

/** What a peer got, as `type:cause` with `-` for P/N, an IOA behind. */
export const got = (peer: Peer, link?: number): readonly string[] =>
  peer.received
    .filter((received) => link === undefined || received.link === link)
    .map(({ asdu }) => {
      const view = peekAsdu(asdu)
      return view === undefined ? '?' : `${view.typeId}:${view.cot}${view.negative ? '-' : ''} ${view.ioa}`
    })
