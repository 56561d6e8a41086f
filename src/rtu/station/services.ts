import { asduOf, type Cp56Time2a, cot, encodeAsdu } from '../../protocol/index.ts'
import type { Commands } from './commands.ts'
import type { Desk, Order } from './desk.ts'
import type { Files } from './files.ts'
import type { Groups } from './groups.ts'
import type { Interrogation } from './interrogation.ts'
import type { Parameters } from './parameters.ts'
import type { Process } from './process.ts'
import type { StationClock } from './station-clock.ts'

const FIXED_TEST_PATTERN = 0x55aa
/** Causes of initialization (7.2.6.21). */
const COI = { powerOn: 0, remoteReset: 2 }

type Parts = {
  readonly clock: StationClock
  readonly groups: Groups
  readonly process: Process
  readonly interrogation: Interrogation
  readonly commands: Commands
  readonly parameters: Parameters
  readonly files: Files
}

/** Gives each order to the part of the station that serves it; clock, test and reset are served here. */
export class Services {
  readonly #parts: Parts
  readonly #desk: Desk

  constructor(parts: Parts, desk: Desk) {
    this.#parts = parts
    this.#desk = desk
  }

  /** Takes an order that is for this station. */
  serve(order: Order): void {
    const { asdu } = order
    const { interrogation, process, commands, parameters, files } = this.#parts
    switch (asdu.type) {
      case 'C_IC_NA_1':
        interrogation.station(order, asdu.objects[0]?.value.qoi ?? 0)
        break
      case 'C_CI_NA_1': {
        const { request = 0, freeze = 0 } = asdu.objects[0]?.value.qcc ?? {}
        process.reportFrozen(interrogation.counters(order, request, freeze), order.nowMs)
        break
      }
      case 'C_RD_NA_1':
        interrogation.read(order)
        break
      case 'C_CS_NA_1':
        this.#setClock(order, asdu.objects[0]?.value.time)
        break
      case 'C_TS_NA_1':
        this.#desk.answer(order, cot.activationCon, asdu.objects[0]?.value.fbp !== FIXED_TEST_PATTERN)
        break
      case 'C_TS_TA_1':
        this.#desk.answer(order, cot.activationCon)
        break
      case 'C_CD_NA_1':
        // Over TCP there is no delay to load: the spontaneous one is taken silently, an acquisition is mirrored.
        if (order.view.cot === cot.activation) this.#desk.answer(order, cot.activationCon)
        break
      case 'C_RP_NA_1':
        this.#reset(order, asdu.objects[0]?.value.qrp)
        break
      case 'P_ME_NA_1':
      case 'P_ME_NB_1':
      case 'P_ME_NC_1':
      case 'P_AC_NA_1':
        parameters.take(order)
        break
      case 'F_FR_NA_1':
      case 'F_SR_NA_1':
      case 'F_SC_NA_1':
      case 'F_LS_NA_1':
      case 'F_AF_NA_1':
      case 'F_SG_NA_1':
        files.take(order)
        break
      default:
        commands.take(order)
    }
  }

  /** Tells the end of initialization after the start. */
  announce(cas: Iterable<number>): void {
    for (const ca of cas) this.#announce(ca, COI.powerOn)
  }

  #setClock(order: Order, time: Cp56Time2a | undefined): void {
    const isFit = time !== undefined && !time.invalid
    this.#desk.answer(order, cot.activationCon, !isFit)
    if (!isFit || order.view.test) return
    const offsetMs = this.#parts.clock.set(time.wallMs, order.nowMs)
    this.#desk.log({ name: 'clock.set', connection: order.connection, ca: order.view.ca, offsetMs })
  }

  #reset(order: Order, qrp: number | undefined): void {
    const isFit = qrp === 1 || qrp === 2
    this.#desk.answer(order, cot.activationCon, !isFit)
    if (!isFit || order.view.test) return
    const { ca } = order.view
    for (const { events } of this.#parts.groups.all) events.clear(ca)
    if (qrp === 1) {
      this.#parts.commands.reset(ca)
      this.#parts.process.reset(ca)
      this.#announce(ca, COI.remoteReset)
    }
    this.#desk.effect({ kind: 'reset', ca, qrp })
    this.#desk.log({ name: 'process.reset', connection: order.connection, ca, qrp })
  }

  #announce(ca: number, cause: number): void {
    const objects = [{ ioa: 0, value: { coi: { cause, changed: false } } }]
    const octets = encodeAsdu(asduOf('M_EI_NA_1', { cot: cot.initialized, ca, objects }))
    this.#parts.groups.push({ octets, packable: false })
  }
}
