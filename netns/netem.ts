import type { LinkLaw } from '../src/sim/index.ts'

/** Datagrams that may wait in the delay line of one direction: above any k of 104, well above netem's 1000. */
const QUEUE_FRAMES = 10_000

/**
 * Arguments of `tc qdisc ... netem` for a link's law, the same that `Impairment` of `src/sim` applies in the transport.
 * Normal jitter takes netem's `distribution normal` table, uniform jitter netem's own.
 * @throws RangeError for a delay, jitter, loss or rate outside its range.
 */
export function netemArgs(law: LinkLaw): string[] {
  const { delayMs, jitterMs, jitter, lossRatio, bandwidthBps, outage } = law
  check('delayMs', delayMs, 0, 60_000)
  check('jitterMs', jitterMs, 0, 60_000)
  check('lossRatio', lossRatio, 0, 1)
  if (bandwidthBps !== undefined) check('bandwidthBps', bandwidthBps, 1, 1e12)
  const args = ['netem', 'limit', String(QUEUE_FRAMES)]
  if (delayMs > 0 || jitterMs > 0) args.push('delay', microseconds(delayMs))
  if (jitterMs > 0) args.push(microseconds(jitterMs), ...(jitter === 'normal' ? ['distribution', 'normal'] : []))
  const loss = outage ? 1 : lossRatio
  if (loss > 0) args.push('loss', `${Number((100 * loss).toFixed(6))}%`)
  // Always named: netem keeps the rate of an earlier law that a new one does not mention.
  args.push('rate', `${Math.round(bandwidthBps ?? 0)}bit`)
  return args
}

function microseconds(ms: number): string {
  return `${Math.round(ms * 1000)}us`
}

function check(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) throw new RangeError(`${name} is ${value}, not in ${min}..${max}`)
}
