import { type Asdu, asduOf, cot, encodeAsdu } from '../../protocol/index.ts'
import type { FileSpec } from './contract.ts'
import type { Desk, Order } from './desk.ts'
import { checksum, SEGMENT_BYTES, sectionCount, sectionOf } from './file-sections.ts'

/** Requests of F_SC_NA_1 (7.2.6.30). */
const SCQ = { selectFile: 1, callFile: 2, deactivateFile: 3, selectSection: 5, callSection: 6, deactivateSection: 7 }
/** Last section or segment qualifier (7.2.6.31). */
const LSQ = { file: 1, fileDeactivated: 2, section: 3, sectionDeactivated: 4 }
/** Acknowledgements of F_AF_NA_1 (7.2.6.32). */
const AFQ = { fileOk: 1, fileBad: 2, sectionOk: 3, sectionBad: 4 }

/** A file on its way to one controlling station, section by section as that asks for them. */
export class FileSender {
  readonly spec: FileSpec
  readonly #bytes: Uint8Array
  readonly #desk: Desk
  /** The section that may be called now; 0 before the file was called. */
  #nos = 0

  constructor(spec: FileSpec, bytes: Uint8Array, desk: Desk) {
    this.spec = spec
    this.#bytes = bytes
    this.#desk = desk
  }

  /** Takes an order about this file; false when the transfer is over. */
  take(order: Order): boolean {
    const { asdu } = order
    if (asdu.type === 'F_SC_NA_1') {
      const [object] = asdu.objects
      return object === undefined || this.#onCall(order, object.value.scq.request, object.value.nos)
    }
    if (asdu.type !== 'F_AF_NA_1') return true
    const [object] = asdu.objects
    return object === undefined || this.#onAcknowledge(order, object.value.afq.qualifier, object.value.nos)
  }

  #onCall(order: Order, request: number, nos: number): boolean {
    const { nof } = this.spec
    switch (request) {
      case SCQ.selectFile: {
        const value = { nof, lof: this.#bytes.length, frq: { qualifier: 0, negative: false } }
        this.#reply(order, asduOf('F_FR_NA_1', { ...this.#header, objects: [{ ioa: this.spec.ioa, value }] }))
        return true
      }
      case SCQ.callFile:
        this.#nos = 1
        this.#offerSection(order, 1)
        return true
      case SCQ.selectSection:
        this.#offerSection(order, nos)
        return true
      case SCQ.callSection:
        if (this.#nos === 0 || nos !== this.#nos) this.#offerSection(order, nos, true)
        else this.#sendSection(order)
        return true
      case SCQ.deactivateSection:
        this.#desk.callOff(order, 'file')
        this.#reply(order, this.#last(nos, LSQ.sectionDeactivated, 0))
        return true
      case SCQ.deactivateFile:
        this.#desk.callOff(order, 'file')
        this.#reply(order, this.#last(this.#nos, LSQ.fileDeactivated, 0))
        return false
      default:
        this.#offerSection(order, nos, true)
        return true
    }
  }

  #onAcknowledge(order: Order, qualifier: number, nos: number): boolean {
    const { ca, ioa, nof } = this.spec
    switch (qualifier) {
      case AFQ.sectionOk:
        if (nos !== this.#nos) return true
        if (this.#nos < sectionCount(this.#bytes)) this.#offerSection(order, this.#nos + 1)
        else this.#reply(order, this.#last(this.#nos, LSQ.file, checksum(this.#bytes)))
        return true
      case AFQ.sectionBad:
        this.#offerSection(order, this.#nos)
        return true
      case AFQ.fileOk:
      case AFQ.fileBad:
        this.#desk.log({
          name: qualifier === AFQ.fileOk ? 'file.sent' : 'file.refused',
          connection: order.connection,
          ca,
          ioa,
          nof,
          sizeBytes: this.#bytes.length,
        })
        return false
      default:
        return true
    }
  }

  /** F_SR: the section is ready to be called, or not. */
  #offerSection(order: Order, nos: number, refuse = false): void {
    const section = refuse || this.#nos === 0 ? undefined : sectionOf(this.#bytes, nos)
    if (section !== undefined) this.#nos = nos
    const srq = { qualifier: 0, notReady: section === undefined }
    const value = { nof: this.spec.nof, nos, lof: section?.length ?? 0, srq }
    this.#reply(order, asduOf('F_SR_NA_1', { ...this.#header, objects: [{ ioa: this.spec.ioa, value }] }))
  }

  /** The segments of the section, then F_LS with its checksum. */
  #sendSection(order: Order): void {
    const nos = this.#nos
    const { oa } = order.view
    const section = sectionOf(this.#bytes, nos) ?? new Uint8Array()
    let at = 0
    let isDone = false
    this.#desk.callOff(order, 'file')
    const isTaken = this.#desk.run(order, {
      key: 'file',
      next: () => {
        if (at < section.length) {
          const segment = section.slice(at, at + SEGMENT_BYTES)
          at += segment.length
          const value = { nof: this.spec.nof, nos, segment }
          return encodeAsdu(asduOf('F_SG_NA_1', { ...this.#header, oa, objects: [{ ioa: this.spec.ioa, value }] }))
        }
        if (isDone) return undefined
        isDone = true
        return encodeAsdu({ ...this.#last(nos, LSQ.section, checksum(section)), oa })
      },
    })
    if (!isTaken) this.#offerSection(order, nos, true)
  }

  #last(nos: number, lsq: number, chs: number): Asdu {
    const value = { nof: this.spec.nof, nos, lsq, chs }
    return asduOf('F_LS_NA_1', { ...this.#header, objects: [{ ioa: this.spec.ioa, value }] })
  }

  #reply(order: Order, asdu: Asdu): void {
    this.#desk.reply(order, encodeAsdu({ ...asdu, oa: order.view.oa }))
  }

  get #header(): { readonly cot: number; readonly ca: number } {
    return { cot: cot.fileTransfer, ca: this.spec.ca }
  }
}
