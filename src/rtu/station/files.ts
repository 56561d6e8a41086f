import { type Asdu, asduOf, cot, encodeAsdu } from '../../protocol/index.ts'
import type { CoreConfig, FileSpec } from './contract.ts'
import type { Desk, Order } from './desk.ts'
import { FileReceiver } from './file-receiver.ts'
import { FileSender } from './file-sender.ts'
import type { StationClock } from './station-clock.ts'

/** A file of the station, present or to come. */
type StationFile = { readonly spec: FileSpec; bytes: Uint8Array | undefined; createdWallMs: number }

const DIRECTORY_PAGE = 15

/**
 * File transfer in both directions and the directory (IEC 60870-5-101, 7.4.11). A transfer belongs to the connection that
 * began it: nobody else can go on with it, and it ends with the connection.
 */
export class Files {
  readonly #files: readonly StationFile[]
  readonly #desk: Desk
  readonly #clock: StationClock
  readonly #maxFileBytes: number
  readonly #senders = new Map<number, FileSender>()
  readonly #receivers = new Map<number, FileReceiver>()

  constructor(config: CoreConfig, clock: StationClock, desk: Desk) {
    this.#desk = desk
    this.#clock = clock
    this.#maxFileBytes = config.maxFileBytes ?? 1 << 20
    this.#files = (config.files ?? []).map((spec) => ({
      spec,
      bytes: spec.bytes,
      createdWallMs: spec.createdWallMs ?? 0,
    }))
  }

  /** Takes an order that is for this station: F_SC, F_AF (what we send), F_FR, F_SR, F_SG, F_LS (what we receive). */
  take(order: Order): void {
    const { asdu, view } = order
    const here = this.#files.filter(({ spec }) => spec.ca === view.ca && spec.ioa === view.ioa)
    if (asdu.type === 'F_SC_NA_1' && view.cot === cot.request) this.#directory(order)
    else if (here.length === 0) this.#desk.answer(order, cot.unknownIoa, true)
    else if (asdu.type === 'F_SC_NA_1' || asdu.type === 'F_AF_NA_1') this.#send(order, here)
    else this.#receive(order, here)
  }

  disconnected(connection: number): void {
    this.#senders.delete(connection)
    this.#receivers.delete(connection)
  }

  #send(order: Order, here: readonly StationFile[]): void {
    const { asdu, connection } = order
    const [object] = asdu.type === 'F_SC_NA_1' || asdu.type === 'F_AF_NA_1' ? asdu.objects : []
    if (object === undefined) return
    const file = here.find(({ spec }) => spec.nof === object.value.nof)
    const isSelect = 'scq' in object.value && object.value.scq.request === 1
    const isDelete = 'scq' in object.value && object.value.scq.request === 4
    if (isDelete) {
      this.#delete(order, file, object.value.nof)
      return
    }
    if (isSelect) {
      this.#desk.callOff(order, 'file')
      this.#senders.delete(connection)
      if (file?.bytes !== undefined) this.#senders.set(connection, new FileSender(file.spec, file.bytes, this.#desk))
    }
    const sender = this.#senders.get(connection)
    if (file !== undefined && sender?.spec === file.spec) {
      if (!sender.take(order)) this.#senders.delete(connection)
      return
    }
    if (asdu.type === 'F_AF_NA_1') return
    // Nothing was selected on this connection, or there is no such file.
    const { ca, ioa } = order.view
    const value = { nof: object.value.nof, lof: 0, frq: { qualifier: 0, negative: true } }
    const no = asduOf('F_FR_NA_1', { cot: cot.fileTransfer, ca, objects: [{ ioa, value }] })
    this.#reply(order, no)
  }

  #receive(order: Order, here: readonly StationFile[]): void {
    const { asdu, connection, nowMs } = order
    if (asdu.type === 'F_FR_NA_1') {
      const file = here.find(({ spec }) => spec.writable === true && spec.nof === asdu.objects[0]?.value.nof)
      this.#receivers.set(connection, new FileReceiver(file?.spec, this.#maxFileBytes, this.#desk))
    }
    const receiver = this.#receivers.get(connection)
    if (receiver === undefined || (receiver.spec && !here.some(({ spec }) => spec === receiver.spec))) return
    const result = receiver.take(order)
    if (result === 'going on') return
    this.#receivers.delete(connection)
    const file = here.find(({ spec }) => spec === receiver.spec)
    if (result === 'ended' || file === undefined) return
    file.bytes = result
    file.createdWallMs = this.#clock.wallMs(nowMs)
    const { ca, ioa, nof } = file.spec
    this.#desk.effect({ kind: 'fileReceived', ca, ioa, nof, bytes: result })
    this.#desk.log({ name: 'file.received', connection, ca, ioa, nof, sizeBytes: result.length })
  }

  #delete(order: Order, file: StationFile | undefined, nof: number): void {
    const isDone = file?.spec.writable === true && file.bytes !== undefined
    if (isDone) file.bytes = undefined
    const { ca, ioa } = order.view
    const value = { nof, nos: 0, afq: { qualifier: isDone ? 1 : 2, fault: isDone ? 0 : 4 } }
    const answer = asduOf('F_AF_NA_1', { cot: cot.fileTransfer, ca, objects: [{ ioa, value }] })
    this.#reply(order, answer)
  }

  /** The files that are there; of one address, or of all when asked for address 0. */
  #directory(order: Order): void {
    const { ca, ioa } = order.view
    const here = this.#files.filter(({ spec }) => spec.ca === ca && (ioa === 0 || spec.ioa === ioa))
    const objects = here.flatMap(({ spec, bytes, createdWallMs }) => {
      if (bytes === undefined) return []
      const sof = { status: 0, lastFile: false, subdirectory: false, active: false }
      return [
        {
          ioa: spec.ioa,
          value: { nof: spec.nof, lof: bytes.length, sof, time: this.#clock.cp56(createdWallMs) },
        },
      ]
    })
    const last = objects.at(-1)
    if (last === undefined) {
      this.#desk.answer(order, cot.unknownIoa, true)
      return
    }
    last.value.sof.lastFile = true
    for (let at = 0; at < objects.length; at += DIRECTORY_PAGE) {
      const page = objects.slice(at, at + DIRECTORY_PAGE)
      const answer = asduOf('F_DR_TA_1', { cot: cot.request, ca, objects: page })
      this.#reply(order, answer)
    }
  }

  #reply(order: Order, asdu: Asdu): void {
    this.#desk.reply(order, encodeAsdu({ ...asdu, oa: order.view.oa }))
  }
}
