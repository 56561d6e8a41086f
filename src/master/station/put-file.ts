import type { Asdu } from '../../protocol/index.ts'
import { confirmed, type Exchange, type Received, type Step, single, type Waits } from './exchange.ts'
import {
  AFQ,
  aboutFile,
  checksumOf,
  type FileAddress,
  fileHeader,
  fileRefusalOf,
  fileRefused,
  LSQ,
  SCQ,
  SECTION_BYTES,
  SECTION_RETRIES,
  SEGMENT_BYTES,
} from './file.ts'

/**
 * A file to the controlled station:
 *
 * ```
 * we    file ready                section ready                   segments, last             next section ready,
 *                                                                                             or last section
 * peer              request file                 request section                 ack section                    ack file
 * ```
 */
export class PutFile implements Exchange {
  readonly #file: FileAddress
  readonly #octets: Uint8Array
  readonly #waits: Waits
  #awaits: 'requestFile' | 'requestSection' | 'ackSection' | 'ackFile' = 'requestFile'
  /** The section under way, counted from 0; its name is one more. */
  #section = 0
  #retries = 0

  constructor(file: FileAddress, octets: Uint8Array, waits: Waits) {
    this.#file = file
    this.#octets = octets
    this.#waits = waits
  }

  begin(): Step {
    const { ioa, nof } = this.#file
    const value = { nof, lof: this.#octets.length, frq: { qualifier: 0, negative: false } }
    return { send: [single('F_FR_NA_1', fileHeader(this.#file), { ioa, value })], waitMs: this.#waits.timeoutMs }
  }

  take(received: Received): Step | undefined {
    const asdu = aboutFile(received, this.#file)
    const refusal = fileRefusalOf(received.header, this.#file)
    if (refusal !== undefined) return { isConfirmation: true, result: refusal }
    const step = asdu && this.#step(asdu)
    return step && { isConfirmation: true, waitMs: this.#waits.timeoutMs, ...step }
  }

  expire(): Step {
    return { send: [this.#last(LSQ.fileDeactivated, 0)], result: { kind: 'timeout', awaited: 'file', objectCount: 0 } }
  }

  #step(asdu: Asdu): Step | undefined {
    if (asdu.type === 'F_FR_NA_1') return { result: fileRefused(this.#file.ca, 'the station does not take the file') }
    if (asdu.type === 'F_SC_NA_1') return this.#called(asdu.objects[0]?.value.scq)
    if (asdu.type === 'F_AF_NA_1') return this.#acknowledged(asdu.objects[0]?.value.afq.qualifier)
    return undefined
  }

  #called(scq: { readonly request: number; readonly fault: number } | undefined): Step | undefined {
    if (scq === undefined) return undefined
    if (scq.fault !== 0 || scq.request === SCQ.deactivateFile) {
      return { result: fileRefused(this.#file.ca, `the station gave up (fault ${scq.fault})`) }
    }
    if (scq.request === SCQ.requestFile && this.#awaits === 'requestFile') return this.#sectionReady()
    if (scq.request !== SCQ.requestSection || this.#awaits !== 'requestSection') return undefined
    this.#awaits = 'ackSection'
    const { ioa, nof } = this.#file
    const nos = this.#section + 1
    const section = this.#octetsOfSection()
    const send: Asdu[] = []
    for (let at = 0; at < section.length; at += SEGMENT_BYTES) {
      const segment = section.subarray(at, at + SEGMENT_BYTES)
      send.push(single('F_SG_NA_1', fileHeader(this.#file), { ioa, value: { nof, nos, segment } }))
    }
    send.push(this.#last(LSQ.section, checksumOf(section)))
    return { send }
  }

  #acknowledged(qualifier: number | undefined): Step | undefined {
    switch (qualifier) {
      case AFQ.sectionOk:
        if (this.#awaits !== 'ackSection') return undefined
        this.#section += 1
        this.#retries = 0
        if (this.#section * SECTION_BYTES < this.#octets.length) return this.#sectionReady()
        this.#awaits = 'ackFile'
        return { send: [this.#last(LSQ.file, checksumOf(this.#octets))] }
      case AFQ.sectionBad:
        if (this.#awaits !== 'ackSection') return undefined
        this.#retries += 1
        if (this.#retries <= SECTION_RETRIES) return this.#sectionReady()
        return {
          send: [this.#last(LSQ.fileDeactivated, 0)],
          result: fileRefused(this.#file.ca, `section ${this.#section + 1} was not acknowledged`),
        }
      case AFQ.fileOk:
        if (this.#awaits !== 'ackFile') return undefined
        return { result: confirmed({ stations: [this.#file.ca] }) }
      case AFQ.fileBad:
        return { result: fileRefused(this.#file.ca, 'the station did not acknowledge the file') }
      default:
        return undefined
    }
  }

  #sectionReady(): Step {
    this.#awaits = 'requestSection'
    const { ioa, nof } = this.#file
    const lof = this.#octetsOfSection().length
    const value = { nof, nos: this.#section + 1, lof, srq: { qualifier: 0, notReady: false } }
    return { send: [single('F_SR_NA_1', fileHeader(this.#file), { ioa, value })] }
  }

  #octetsOfSection(): Uint8Array {
    return this.#octets.subarray(this.#section * SECTION_BYTES, (this.#section + 1) * SECTION_BYTES)
  }

  /** The name in the last ASDU of the file is that of its last section. */
  #last(lsq: number, chs: number): Asdu {
    const { ioa, nof } = this.#file
    const sections = Math.ceil(this.#octets.length / SECTION_BYTES)
    const nos = Math.min(this.#section + 1, sections)
    return single('F_LS_NA_1', fileHeader(this.#file), { ioa, value: { nof, nos, lsq, chs } })
  }
}
