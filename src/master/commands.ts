/** The ASDUs the control centre sends. */
import { asduOf, cot, cp56, encodeAsdu, typeIdOf } from '../protocol/index.ts'
import type { Suite } from '../runtime/contract.ts'
import type { StationOrder } from './stations.ts'

/** Qualifier of interrogation: the whole station (IEC 60870-5-101, 7.2.6.22). */
const QOI_STATION = 20

type Point = { readonly ca: number; readonly ioa: number }

/** A command as a task keeps it. */
export type Command = Point & { readonly typeId: number; readonly asdu: Uint8Array }

/** Direct single command ON, with a time tag (C_SC_TA_1) if `wallMs` is given, else without (C_SC_NA_1). */
export function singleCommand({ ca, ioa }: Point, wallMs?: number): Command {
  const sco = { on: true, qu: 0, select: false }
  const asdu =
    wallMs === undefined
      ? asduOf('C_SC_NA_1', { cot: cot.activation, ca, objects: [{ ioa, value: { sco } }] })
      : asduOf('C_SC_TA_1', { cot: cot.activation, ca, objects: [{ ioa, value: { sco, time: cp56(wallMs) } }] })
  return { ca, ioa, typeId: typeIdOf(asdu.type), asdu: encodeAsdu(asdu) }
}

/** Direct set-point command, short floating point number (C_SE_NC_1). */
export function setpointCommand({ ca, ioa }: Point, value: number): Command {
  const qos = { ql: 0, select: false }
  const asdu = asduOf('C_SE_NC_1', { cot: cot.activation, ca, objects: [{ ioa, value: { value, qos } }] })
  return { ca, ioa, typeId: typeIdOf(asdu.type), asdu: encodeAsdu(asdu) }
}

/** Clock synchronisation (C_CS_NA_1) with this time, or general interrogation (C_IC_NA_1). */
export function stationCommand({ kind, ca }: StationOrder, wallMs: number): Uint8Array {
  if (kind === 'clock') {
    return encodeAsdu(
      asduOf('C_CS_NA_1', { cot: cot.activation, ca, objects: [{ ioa: 0, value: { time: cp56(wallMs) } }] }),
    )
  }
  return encodeAsdu(
    asduOf('C_IC_NA_1', { cot: cot.activation, ca, objects: [{ ioa: 0, value: { qoi: QOI_STATION } }] }),
  )
}

/**
 * Test command with time tag (C_TS_TA_1) whose counter tells an RTU how to report: odd in one-time pads, even in AES. It goes
 * in AES itself, so that telling costs next to no key.
 */
export function reportOrder(ca: number, suite: Suite, counter: number, wallMs: number): Uint8Array {
  const tsc = ((2 * counter) & 0xfffe) | (suite === 'otp' ? 1 : 0)
  const value = { tsc, time: cp56(wallMs) }
  return encodeAsdu(asduOf('C_TS_TA_1', { cot: cot.activation, ca, objects: [{ ioa: 0, value }] }))
}
