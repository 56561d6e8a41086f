/** What is wrong with received octets. Closed: every refusal of a codec is one of these. */
export type WireFault =
  /** The octets end before what the header or the type announces. */
  | { readonly code: 'TRUNCATED'; readonly neededBytes: number; readonly leftBytes: number }
  /** Octets are left after the last object. */
  | { readonly code: 'TRAILING'; readonly extraBytes: number }
  /** Longer than the standard allows. */
  | { readonly code: 'TOO_LONG'; readonly sizeBytes: number; readonly limitBytes: number }
  /** The type identification is not in the type table. */
  | { readonly code: 'UNKNOWN_TYPE'; readonly typeId: number }
  /** An APDU does not begin with 0x68. */
  | { readonly code: 'BAD_START'; readonly octet: number }
  /** The length octet of an APDU is outside 4..253, not what follows it, or not possible for its format. */
  | { readonly code: 'BAD_LENGTH'; readonly lengthBytes: number }
  /** Control field octets that no frame format has. */
  | { readonly code: 'BAD_CONTROL'; readonly octet: number }
  /** The number of objects is zero, or not the one that the type allows. */
  | { readonly code: 'BAD_COUNT'; readonly count: number }
  /** SQ = 1 with a type that has no sequences, or a sequence that runs past the highest address. */
  | { readonly code: 'BAD_SEQUENCE'; readonly typeId: number }
  /** A field holds a number that its element does not define. */
  | { readonly code: 'BAD_FIELD'; readonly field: string; readonly value: number }

/** The peer sent octets that are not what the standard defines. Codecs throw it and nothing else for bad input. */
export class WireError extends Error {
  override readonly name = 'WireError'
  readonly fault: WireFault
  /** Offset of the octet where the fault was found, from the first octet given to the decoder. */
  readonly offset: number

  constructor(fault: WireFault, offset: number) {
    const { code, ...facts } = fault
    const words = Object.entries(facts).map(([name, value]) => `${name} ${value}`)
    super(`${code} at octet ${offset}: ${words.join(', ')}`)
    this.fault = fault
    this.offset = offset
  }
}
