/** What a link does to datagrams in each direction. */
export type LinkLaw = {
  /** One-way delay, ms. */
  readonly delayMs: number
  /** The delay of a datagram is uniform in `delayMs` plus or minus this, ms. */
  readonly jitterMs: number
  /** Share of datagrams lost, 0..1, independently of each other. */
  readonly lossRatio: number
  /** Capacity, bit/s; absent: not limited. */
  readonly rateBps?: number
  /** False: nothing passes. */
  readonly up: boolean
}

/** Datagrams that may wait in the delay line of one direction: above any k of 104, well above netem's 1000. */
const QUEUE_FRAMES = 10_000

/**
 * Arguments of `tc qdisc ... netem` for a law.
 * @throws RangeError for a delay, jitter, loss or rate outside its range.
 */
export function netemArgs(law: LinkLaw): string[] {
  const { delayMs, jitterMs, lossRatio, rateBps } = law
  check('delayMs', delayMs, 0, 60_000)
  check('jitterMs', jitterMs, 0, 60_000)
  check('lossRatio', lossRatio, 0, 1)
  if (rateBps !== undefined) check('rateBps', rateBps, 1, 1e12)
  const args = ['netem', 'limit', String(QUEUE_FRAMES)]
  if (delayMs > 0 || jitterMs > 0) args.push('delay', microseconds(delayMs))
  if (jitterMs > 0) args.push(microseconds(jitterMs))
  const loss = law.up ? lossRatio : 1
  if (loss > 0) args.push('loss', `${Number((100 * loss).toFixed(6))}%`)
  // Always named: netem keeps the rate of an earlier law that a new one does not mention.
  args.push('rate', `${Math.round(rateBps ?? 0)}bit`)
  return args
}

function microseconds(ms: number): string {
  return `${Math.round(ms * 1000)}us`
}

function check(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) throw new RangeError(`${name} is ${value}, not in ${min}..${max}`)
}
