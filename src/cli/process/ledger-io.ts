import type { ChannelMark, NodeInput } from '../../runtime/contract.ts'
import { LedgerFile } from '../../runtime/node-files.ts'
import type { LinkEnd } from '../lab/ipc.ts'

/** Where a node's ledger is, and whether it must be there already. */
export type LedgerPlace = {
  readonly file: string
  /** Id of the run or lab: another run has other key, so another ledger. New whenever the key server begins anew. */
  readonly run: string
  /** The node ran before in this run. */
  readonly isRestart: boolean
}

/** A node's ledger as its process uses it: `marks` for its input `start`, `reserve` for the effects of that name. */
export type NodeLedger = {
  readonly marks: readonly ChannelMark[]
  readonly reserve: (mark: ChannelMark) => void
  readonly close: () => Promise<void>
}

/**
 * Opens a node's ledger; `feed` gets its `reserved` inputs. A ledger that cannot be written any more ends the process,
 * for without it no key may be used.
 * @throws LedgerFileError when there is none that can be trusted.
 */
export async function openNodeLedger(
  { id, ends }: { readonly id: string; readonly ends: readonly LinkEnd[] },
  { file, run, isRestart }: LedgerPlace,
  feed: (input: NodeInput) => void,
): Promise<NodeLedger> {
  const identity = { node: id, run, ends: ends.map(({ link, end }) => ({ link, end })) }
  const ledger = await LedgerFile.open({ file, ...identity, expect: isRestart ? 'existing' : 'new' })
  ledger.onDurable(
    (mark) => feed({ kind: 'reserved', mark }),
    (error) => {
      throw error
    },
  )
  return {
    marks: ledger.recovered,
    reserve: (mark) => ledger.reserve(mark),
    close: () => ledger.close(),
  }
}
