import { cot } from '../../protocol/index.ts'
import { confirmed, type Exchange, isOfStation, type Received, type Step, single, type Waits } from './exchange.ts'
import { type FileAddress, fileRefusalOf, SCQ } from './file.ts'
import type { FileEntry } from './operation.ts'

/** Most entries kept of one directory: a name has 16 bits. */
const MAX_ENTRIES = 65_536

/** The directory of files: F_SC_NA_1 with cause 5, answered by F_DR_TA_1; the last file says that it is the last. */
export class Directory implements Exchange {
  readonly #file: FileAddress
  readonly #waits: Waits
  readonly #entries: FileEntry[] = []

  constructor(file: FileAddress, waits: Waits) {
    this.#file = file
    this.#waits = waits
  }

  begin(): Step {
    const { ca, oa, ioa, nof } = this.#file
    const value = { nof, nos: 0, scq: { request: SCQ.default, fault: 0 } }
    return { send: [single('F_SC_NA_1', { cot: cot.request, ca, oa }, { ioa, value })], waitMs: this.#waits.timeoutMs }
  }

  take({ header, asdu }: Received): Step | undefined {
    if (!isOfStation(header.ca, this.#file.ca)) return undefined
    const refusal = fileRefusalOf(header, this.#file)
    if (refusal !== undefined) return { isConfirmation: true, result: refusal }
    if (asdu?.type !== 'F_DR_TA_1' || header.cot !== cot.request) return undefined
    let isLast = false
    for (const { ioa, value } of asdu.objects) {
      const { nof, lof, sof, time } = value
      isLast ||= sof.lastFile
      if (this.#entries.length >= MAX_ENTRIES) break
      this.#entries.push({ ioa, nof, sizeBytes: lof, isDirectory: sof.subdirectory, isActive: sof.active, time })
    }
    if (!isLast) return { isConfirmation: true, waitMs: this.#waits.quietMs }
    return { isConfirmation: true, result: this.#success(header.ca) }
  }

  expire(): Step {
    // A station that marks no last file: silence ends its list.
    if (this.#entries.length > 0) return { result: this.#success(this.#file.ca) }
    return { result: { kind: 'timeout', awaited: 'data', objectCount: 0 } }
  }

  #success(ca: number) {
    return confirmed({ objectCount: this.#entries.length, stations: [ca], directory: this.#entries })
  }
}
