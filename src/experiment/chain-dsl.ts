/**
 * Chains in TypeScript: a file that a scenario names by `chains: { file: my-chains.ts }` imports `chain` from 'q104' and
 * exports `chains`, a list. Nothing else is imported here, for the file is run by itself.
 */

export type SuiteName = 'otp' | 'aes'

/** A chain as a scenario gives it; what is left out has the scenario's default for its task type. */
export type ChainDeclaration = {
  /** A letter, then at most 31 letters, digits, "_" or "-". */
  readonly id: string
  readonly taskType: 'shedding' | 'agc' | 'setpoint'
  /** 0 is the most urgent, up to 255. */
  readonly priority?: number
  /** Short for the two below: `otp` or `aes` allows that suite alone, `adaptive` asks for OTP and allows AES when key is short. */
  readonly cryptoMode?: SuiteName | 'adaptive'
  readonly requiredSuite?: SuiteName
  readonly allowedSuites?: readonly SuiteName[]
  /** Node ids from the master to an IED. */
  readonly path: readonly string[]
  /** Other ways to the same IED, at most seven. */
  readonly alternatives?: readonly (readonly string[])[]
  readonly deadlineMs?: number
  /** Messages it is expected to carry a second, both directions together. */
  readonly ratePerS?: number
  /** Cost of a second off (xi_drop), of a second below the required suite (xi_deg), and of a change of state (gamma). */
  readonly lossWeight?: number
  readonly degradeWeight?: number
  readonly switchWeight?: number
}

type Expanded = Omit<ChainDeclaration, 'cryptoMode'>

/** Declares a chain: `chain({ id: 'shed-16', taskType: 'shedding', cryptoMode: 'otp', path: ['cc', 'gwA', 'rtu1', 'load16'] })`. */
export function chain({ cryptoMode, ...declaration }: ChainDeclaration): Expanded {
  if (cryptoMode === undefined) return declaration
  const suites: Pick<Expanded, 'requiredSuite' | 'allowedSuites'> =
    cryptoMode === 'adaptive'
      ? { requiredSuite: 'otp', allowedSuites: ['otp', 'aes'] }
      : { requiredSuite: cryptoMode, allowedSuites: [cryptoMode] }
  return { ...suites, ...declaration }
}
