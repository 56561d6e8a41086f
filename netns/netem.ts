import { fileURLToPath } from 'node:url'
import { checkedLaw, type LinkLaw } from '../src/sim/index.ts'

/** Datagrams that may wait in the delay line of one direction: above any k of 104, well above netem's 1000. */
const QUEUE_FRAMES = 10_000

/**
 * Where `tc` finds the tables of jitter, as TC_LIB_DIR. They are our own because netem goes on with the table of an earlier
 * law when a new one names none: uniform jitter needs a table too.
 */
const TABLES_DIR = fileURLToPath(new URL('../../netns/tables', import.meta.url))

/** Environment of the `tc` that is given `netemArgs`. */
export const NETEM_ENV: Readonly<Record<string, string>> = { TC_LIB_DIR: TABLES_DIR }

/**
 * Arguments of `tc qdisc ... netem` for a link's law, the same that `Impairment` of `src/sim` applies in the transport.
 * `tc` must run with `NETEM_ENV`.
 * @throws RangeError for a law that is out of range.
 */
export function netemArgs(law: LinkLaw): string[] {
  const { delayMs, jitterMs, jitter, bandwidthBps } = checkedLaw(law)
  const args = ['netem', 'limit', String(QUEUE_FRAMES)]
  if (delayMs > 0 || jitterMs > 0) args.push('delay', microseconds(delayMs))
  if (jitterMs > 0) args.push(microseconds(jitterMs), 'distribution', jitter)
  args.push(...ratioArgs(law))
  // Always named: netem keeps the rate of an earlier law that a new one does not mention.
  args.push('rate', `${Math.round(bandwidthBps ?? 0)}bit`)
  return args
}

/** What happens to parts of the datagrams. A broken link has no duplicates: netem lets the copy of a lost one pass. */
function ratioArgs({ delayMs, lossRatio, burst, duplicateRatio = 0, reorderRatio = 0, outage }: LinkLaw): string[] {
  if (outage) return ['loss', '100%']
  const args: string[] = []
  if (burst !== undefined) {
    args.push('loss', 'gemodel', ...[burst.startRatio, burst.endRatio, burst.lossRatio, lossRatio].map(percent))
  } else if (lossRatio > 0) {
    args.push('loss', percent(lossRatio))
  }
  if (duplicateRatio > 0) args.push('duplicate', percent(duplicateRatio))
  // netem refuses to reorder where nothing is delayed; it would change nothing.
  if (reorderRatio > 0 && delayMs > 0) args.push('reorder', percent(reorderRatio))
  return args
}

function percent(ratio: number): string {
  return `${Number((100 * ratio).toFixed(6))}%`
}

function microseconds(ms: number): string {
  return `${Math.round(ms * 1000)}us`
}
