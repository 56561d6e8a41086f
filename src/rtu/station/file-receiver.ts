import { type Asdu, asduOf, cot, encodeAsdu } from '../../protocol/index.ts'
import type { FileSpec } from './contract.ts'
import type { Desk, Order } from './desk.ts'
import { checksum } from './file-sections.ts'

/** Faults of F_SC and F_AF (7.2.6.30, 7.2.6.32). */
const FAULT = { none: 0, memory: 1, checksum: 2, service: 3, name: 4, section: 5 }
const SCQ = { callFile: 2, deactivateFile: 3, callSection: 6 }
const AFQ = { fileOk: 1, fileBad: 2, sectionOk: 3, sectionBad: 4 }
const LSQ = { file: 1, section: 3 }

/** What a transfer has come to: more to follow, over without a file, or the file. */
export type ReceiverResult = 'going on' | 'ended' | Uint8Array

/** A file on its way from one controlling station. */
export class FileReceiver {
  /** Undefined when the file announced may not be put here. */
  readonly spec: FileSpec | undefined
  readonly #desk: Desk
  readonly #maxFileBytes: number
  #fileBytes = 0
  #sections: Uint8Array[] = []
  /** The section under way: its segments and what was announced. */
  #section: { readonly nos: number; readonly sizeBytes: number; segments: Uint8Array[]; haveBytes: number } | undefined

  constructor(spec: FileSpec | undefined, maxFileBytes: number, desk: Desk) {
    this.spec = spec
    this.#maxFileBytes = maxFileBytes
    this.#desk = desk
  }

  take(order: Order): ReceiverResult {
    const { asdu } = order
    switch (asdu.type) {
      case 'F_FR_NA_1': {
        const [object] = asdu.objects
        return object === undefined ? 'ended' : this.#onFile(order, object.value)
      }
      case 'F_SR_NA_1': {
        const [object] = asdu.objects
        return object === undefined ? 'ended' : this.#onSection(order, object.value)
      }
      case 'F_SG_NA_1': {
        const [object] = asdu.objects
        return object === undefined ? 'ended' : this.#onSegment(order, object.value)
      }
      case 'F_LS_NA_1': {
        const [object] = asdu.objects
        return object === undefined ? 'ended' : this.#onLast(order, object.value)
      }
      default:
        return 'going on'
    }
  }

  #onFile(order: Order, { nof, lof, frq }: { nof: number; lof: number; frq: { negative: boolean } }): ReceiverResult {
    if (frq.negative) return 'ended'
    const fault = this.spec === undefined ? FAULT.name : lof > this.#maxFileBytes ? FAULT.memory : FAULT.none
    const request = fault === FAULT.none ? SCQ.callFile : SCQ.deactivateFile
    this.#fileBytes = lof
    this.#call(order, { nof, nos: 0 }, { request, fault })
    return fault === FAULT.none ? 'going on' : 'ended'
  }

  #onSection(
    order: Order,
    { nof, nos, lof, srq }: { nof: number; nos: number; lof: number; srq: { notReady: boolean } },
  ): ReceiverResult {
    if (srq.notReady) return 'ended'
    const haveBytes = this.#sections.reduce((sum, { length }) => sum + length, 0)
    const fault =
      nof !== this.spec?.nof
        ? FAULT.name
        : nos !== this.#sections.length + 1
          ? FAULT.section
          : haveBytes + lof > this.#fileBytes
            ? FAULT.memory
            : FAULT.none
    if (fault !== FAULT.none) {
      this.#call(order, { nof, nos }, { request: SCQ.deactivateFile, fault })
      return 'ended'
    }
    this.#section = { nos, sizeBytes: lof, segments: [], haveBytes: 0 }
    this.#call(order, { nof, nos }, { request: SCQ.callSection, fault: FAULT.none })
    return 'going on'
  }

  #onSegment(order: Order, { nof, nos, segment }: { nof: number; nos: number; segment: Uint8Array }): ReceiverResult {
    const section = this.#section
    if (section === undefined || section.nos !== nos || nof !== this.spec?.nof) return 'going on'
    section.haveBytes += segment.length
    if (section.haveBytes > section.sizeBytes || segment.length === 0) {
      this.#acknowledge(order, { nof, nos }, { qualifier: AFQ.fileBad, fault: FAULT.service })
      return 'ended'
    }
    section.segments.push(segment)
    return 'going on'
  }

  #onLast(
    order: Order,
    { nof, nos, lsq, chs }: { nof: number; nos: number; lsq: number; chs: number },
  ): ReceiverResult {
    if (nof !== this.spec?.nof) return 'going on'
    if (lsq === LSQ.section) {
      const section = this.#section
      this.#section = undefined
      const bytes = joined(section?.segments ?? [])
      const isWhole = section?.nos === nos && bytes.length === section.sizeBytes && checksum(bytes) === chs
      if (isWhole) this.#sections.push(bytes)
      const afq = isWhole
        ? { qualifier: AFQ.sectionOk, fault: FAULT.none }
        : { qualifier: AFQ.sectionBad, fault: FAULT.checksum }
      this.#acknowledge(order, { nof, nos }, afq)
      return 'going on'
    }
    if (lsq !== LSQ.file) return 'ended'
    const bytes = joined(this.#sections)
    const isWhole = bytes.length === this.#fileBytes && checksum(bytes) === chs
    const afq = isWhole
      ? { qualifier: AFQ.fileOk, fault: FAULT.none }
      : { qualifier: AFQ.fileBad, fault: FAULT.checksum }
    this.#acknowledge(order, { nof, nos }, afq)
    return isWhole ? bytes : 'ended'
  }

  #call(
    order: Order,
    name: { readonly nof: number; readonly nos: number },
    scq: { readonly request: number; readonly fault: number },
  ): void {
    const { ca, ioa } = order.view
    this.#reply(order, asduOf('F_SC_NA_1', { cot: cot.fileTransfer, ca, objects: [{ ioa, value: { ...name, scq } }] }))
  }

  #acknowledge(
    order: Order,
    name: { readonly nof: number; readonly nos: number },
    afq: { readonly qualifier: number; readonly fault: number },
  ): void {
    const { ca, ioa } = order.view
    this.#reply(order, asduOf('F_AF_NA_1', { cot: cot.fileTransfer, ca, objects: [{ ioa, value: { ...name, afq } }] }))
  }

  #reply(order: Order, asdu: Asdu): void {
    this.#desk.reply(order, encodeAsdu({ ...asdu, oa: order.view.oa }))
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}
