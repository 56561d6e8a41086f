import type { Asdu, Cp56Time2a, TypeName, Value } from '../../protocol/index.ts'

/** Process commands, IEC 60870-5-101, 7.3.2, with and without time tag. */
export type CommandType = Extract<TypeName, `C_${'SC' | 'DC' | 'RC' | 'SE' | 'BO'}_${string}`>
/** Parameters of measured values, 7.3.5. */
export type ParameterType = Extract<TypeName, `P_ME_${string}`>

/**
 * How a command is given: at once; selected, then executed; or one half of that alone. `cancel` deactivates a selection.
 * All but `direct` need a type with a select bit: not C_BO.
 */
export type CommandMode = 'direct' | 'selectBeforeOperate' | 'select' | 'execute' | 'cancel'

/** A process command. The station sets the select bit and, for types with a time tag, the time when it is sent. */
export type CommandOperation = {
  [N in CommandType]: {
    readonly kind: 'command'
    readonly type: N
    readonly ca: number
    readonly ioa: number
    readonly value: Omit<Value<N>, 'time'>
    readonly mode: CommandMode
    /** Whether to wait for ACTTERM after ACTCON (default true); stations that do not send it cost a time-out. */
    readonly awaitTermination?: boolean
  }
}[CommandType]

export type ParameterOperation = {
  [N in ParameterType]: {
    readonly kind: 'parameter'
    readonly type: N
    readonly ca: number
    readonly ioa: number
    readonly value: Value<N>
  }
}[ParameterType]

/** What a controlling station can ask of a controlled one. CA 65535 is every station behind the connection. */
export type Operation =
  /** C_IC_NA_1. Group 0 is the station interrogation, 1..16 a group. */
  | { readonly kind: 'interrogation'; readonly ca: number; readonly group: number }
  /** C_CI_NA_1. Group 1..4, or 5 for all counters. `read` gives values; the others freeze and reset, 7.2.6.23. */
  | {
      readonly kind: 'counterInterrogation'
      readonly ca: number
      readonly group: number
      readonly action: 'read' | 'freeze' | 'freezeAndReset' | 'reset'
    }
  /** C_RD_NA_1. */
  | { readonly kind: 'read'; readonly ca: number; readonly ioa: number }
  /** C_CS_NA_1, with the given time or the wall clock's when it is sent. */
  | { readonly kind: 'clockSync'; readonly ca: number; readonly time?: Cp56Time2a }
  | CommandOperation
  | ParameterOperation
  /** P_AC_NA_1; `active` false deactivates. */
  | {
      readonly kind: 'parameterActivation'
      readonly ca: number
      readonly ioa: number
      readonly qpa: number
      readonly active: boolean
    }
  /** C_TS_NA_1 (`swapped`: the pattern's octets in the other order), or C_TS_TA_1 with a counter and a time. */
  | { readonly kind: 'test'; readonly ca: number; readonly swapped?: boolean }
  | { readonly kind: 'timedTest'; readonly ca: number; readonly counter: number }
  /** C_RP_NA_1. Qualifier 1 general reset, 2 pending events with time tag. */
  | { readonly kind: 'resetProcess'; readonly ca: number; readonly qrp: number }
  /** F_SC_NA_1 that asks for the directory. */
  | { readonly kind: 'directory'; readonly ca: number; readonly ioa: number }
  | { readonly kind: 'getFile'; readonly ca: number; readonly ioa: number; readonly nof: number }
  | {
      readonly kind: 'putFile'
      readonly ca: number
      readonly ioa: number
      readonly nof: number
      readonly octets: Uint8Array
    }
  /** Any octets as one ASDU, 1..249; done once they have been sent. */
  | { readonly kind: 'send'; readonly asdu: Uint8Array }

/** One file of a directory, F_DR_TA_1. */
export type FileEntry = {
  readonly ioa: number
  readonly nof: number
  readonly sizeBytes: number
  readonly isDirectory: boolean
  readonly isActive: boolean
  readonly time: Cp56Time2a
}

/** What an operation waited for when its time-out passed. */
export type Awaited = 'confirmation' | 'termination' | 'data' | 'file'

/** What came of an operation. */
export type OperationResult =
  | {
      readonly kind: 'confirmed'
      /** Whether ACTTERM came; absent where none was waited for. */
      readonly terminated?: boolean
      /** Objects of process information that the operation brought. */
      readonly objectCount: number
      /** Common addresses that confirmed: several after CA 65535. */
      readonly stations: readonly number[]
      /** The confirmation, or the object read; undefined when its octets could not be decoded. */
      readonly reply?: Asdu
      readonly directory?: readonly FileEntry[]
      readonly octets?: Uint8Array
    }
  /** The peer said no: negative confirmation, causes 44 to 47 with or without P/N, a file not ready. */
  | {
      readonly kind: 'refused'
      readonly cot: number
      readonly negative: boolean
      readonly ca: number
      /** In words. */
      readonly reason: string
    }
  | { readonly kind: 'timeout'; readonly awaited: Awaited; readonly objectCount: number }
  /** The connection ended before the operation did, or it was given up. */
  | { readonly kind: 'closed'; readonly reason: string }

/** The broadcast address. */
export const ALL_STATIONS = 65_535
