import type { Asdu } from '../../protocol/index.ts'
import { confirmed, type Exchange, joined, type Received, type Step, single, type Waits } from './exchange.ts'
import {
  AFQ,
  AFQ_CHECKSUM,
  aboutFile,
  checksumOf,
  type FileAddress,
  fileHeader,
  fileRefusalOf,
  fileRefused,
  LSQ,
  SCQ,
  SECTION_RETRIES,
} from './file.ts'

/** Most octets taken of one file: lengths have 24 bits. */
const MAX_FILE_BYTES = 2 ** 24

/**
 * A file from the controlled station:
 *
 * ```
 * we    select file          request file           request section                  ack section        ack file
 * peer               ready                  section                  segments, last             (next      last section
 *                                           ready                                                section)
 * ```
 */
export class GetFile implements Exchange {
  readonly #file: FileAddress
  readonly #waits: Waits
  #awaits: 'fileReady' | 'section' | 'segments' = 'fileReady'
  readonly #sections: Uint8Array[] = []
  #segments: Uint8Array[] = []
  #sectionBytes = 0
  #fileBytes = 0
  #nos = 0
  #retries = 0

  constructor(file: FileAddress, waits: Waits) {
    this.#file = file
    this.#waits = waits
  }

  begin(): Step {
    return { send: [this.#call(0, SCQ.selectFile)], waitMs: this.#waits.timeoutMs }
  }

  take(received: Received): Step | undefined {
    const asdu = aboutFile(received, this.#file)
    const refusal = fileRefusalOf(received.header, this.#file)
    if (refusal !== undefined) return { isConfirmation: true, result: refusal }
    const step = asdu && this.#step(asdu)
    return step && { isConfirmation: true, waitMs: this.#waits.timeoutMs, ...step }
  }

  expire(): Step {
    return {
      send: [this.#call(0, SCQ.deactivateFile)],
      result: { kind: 'timeout', awaited: 'file', objectCount: 0 },
    }
  }

  #step(asdu: Asdu): Step | undefined {
    switch (asdu.type) {
      case 'F_FR_NA_1': {
        const ready = asdu.objects[0]?.value
        if (this.#awaits !== 'fileReady' || ready === undefined) return undefined
        // Some stations have the bit the other way about; all of them have no length for a file they refuse.
        if (ready.lof === 0) return { result: fileRefused(this.#file.ca, 'the file is not ready, or empty') }
        this.#awaits = 'section'
        return { send: [this.#call(0, SCQ.requestFile)] }
      }
      case 'F_SR_NA_1': {
        const ready = asdu.objects[0]?.value
        if (this.#awaits === 'fileReady' || ready === undefined) return undefined
        if (ready.srq.notReady) return this.#giveUp(`section ${ready.nos} is not ready`)
        this.#nos = ready.nos
        this.#awaits = 'segments'
        this.#dropSection()
        return { send: [this.#call(ready.nos, SCQ.requestSection)] }
      }
      case 'F_SG_NA_1':
        return this.#segment(asdu.objects[0]?.value)
      case 'F_LS_NA_1': {
        const last = asdu.objects[0]?.value
        if (last === undefined) return undefined
        if (last.lsq === LSQ.section) return this.#endOfSection(last.chs)
        if (last.lsq === LSQ.file) return this.#endOfFile(last.nos, last.chs)
        return { result: fileRefused(this.#file.ca, `the transfer was broken off (LSQ ${last.lsq})`) }
      }
      default:
        return undefined
    }
  }

  #segment(value: { readonly nos: number; readonly segment: Uint8Array } | undefined): Step | undefined {
    if (this.#awaits !== 'segments' || value === undefined || value.nos !== this.#nos) return undefined
    if (this.#fileBytes + this.#sectionBytes + value.segment.length > MAX_FILE_BYTES) {
      return this.#giveUp(`the file has more than ${MAX_FILE_BYTES} octets`)
    }
    this.#segments.push(value.segment)
    this.#sectionBytes += value.segment.length
    return {}
  }

  #endOfSection(chs: number): Step | undefined {
    if (this.#awaits !== 'segments') return undefined
    const section = joined(this.#segments)
    this.#dropSection()
    this.#awaits = 'section'
    if (checksumOf(section) === chs) {
      this.#retries = 0
      this.#sections.push(section)
      this.#fileBytes += section.length
      return { send: [this.#acknowledge(this.#nos, AFQ.sectionOk)] }
    }
    this.#retries += 1
    if (this.#retries > SECTION_RETRIES) return this.#giveUp(`wrong checksum of section ${this.#nos}`)
    return { send: [this.#acknowledge(this.#nos, AFQ.sectionBad)] }
  }

  #endOfFile(nos: number, chs: number): Step | undefined {
    if (this.#awaits !== 'section') return undefined
    const octets = joined(this.#sections)
    if (checksumOf(octets) !== chs) {
      return {
        send: [this.#acknowledge(nos, AFQ.fileBad)],
        result: fileRefused(this.#file.ca, 'wrong checksum of the file'),
      }
    }
    const result = confirmed({ stations: [this.#file.ca], octets })
    return { send: [this.#acknowledge(nos, AFQ.fileOk)], result }
  }

  #giveUp(reason: string): Step {
    return { send: [this.#call(0, SCQ.deactivateFile)], result: fileRefused(this.#file.ca, reason) }
  }

  #dropSection(): void {
    this.#segments = []
    this.#sectionBytes = 0
  }

  #call(nos: number, request: number): Asdu {
    const { ioa, nof } = this.#file
    return single('F_SC_NA_1', fileHeader(this.#file), { ioa, value: { nof, nos, scq: { request, fault: 0 } } })
  }

  #acknowledge(nos: number, qualifier: number): Asdu {
    const { ioa, nof } = this.#file
    const isBad = qualifier === AFQ.fileBad || qualifier === AFQ.sectionBad
    const value = { nof, nos, afq: { qualifier, fault: isBad ? AFQ_CHECKSUM : 0 } }
    return single('F_AF_NA_1', fileHeader(this.#file), { ioa, value })
  }
}
