import type { StockOutlook } from '../scheduler/index.ts'
import type { ChainCounts } from './planning.ts'

/** What a terminal or a web page shows of the control centre. */
export type MasterStatus = {
  /** Estimated frequency deviation of the centre of inertia, Hz. */
  readonly deltaFHz: number | undefined
  readonly chains: ChainCounts
  /** Tasks so far: issued; ok; and late, which is past the deadline or ended without being ok. */
  readonly tasks: { readonly issued: number; readonly ok: number; readonly late: number }
  readonly policy: string
  /** Chains that were switched off by hand. */
  readonly disabled: readonly string[]
  /** The key stock as the policy expects it; absent: it expects nothing. */
  readonly forecast?: StockOutlook
}
