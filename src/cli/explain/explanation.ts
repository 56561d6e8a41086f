/** What the events of a run say of the plan that held at a time. */
import type { RecordedEvent } from '../../runtime/index.ts'
import type { PlanDetail } from '../../scheduler/index.ts'

export type ExplainedChain = {
  readonly id: string
  /** `off`, `aes` or `otp`. */
  readonly state: string
  readonly path: number
  /** The scheduler's phrase, and since when. */
  readonly why: string
  readonly sinceMs: number
}

export type Explanation = {
  readonly atMs: number
  /** When the states were last changed. */
  readonly planMs: number
  readonly level: string
  readonly chains: readonly ExplainedChain[]
  /** The rolling plan's figures, and when they were taken; not there for other policies. */
  readonly detail: (PlanDetail & { readonly tMs: number }) | undefined
}

/** The plan at `atMs`; undefined if there was none yet. */
export function explanationAt(events: readonly RecordedEvent[], atMs: number): Explanation | undefined {
  const until = events.filter(({ name, tMs }) => tMs <= atMs && (name === 'plan' || name === 'plan.detail'))
  const plans = until.filter(({ name }) => name === 'plan').sort((a, b) => a.tMs - b.tMs)
  const last = plans.at(-1)
  if (last === undefined) return undefined
  const chains = new Map<string, ExplainedChain>()
  for (const plan of plans) for (const chain of changesOf(plan)) chains.set(chain.id, chain)
  const details = until.filter(({ name }) => name === 'plan.detail').sort((a, b) => a.tMs - b.tMs)
  const detail = details.at(-1)
  const parsed = typeof detail?.['detail'] === 'string' ? detailOf(detail['detail']) : undefined
  return {
    atMs,
    planMs: last.tMs,
    level: String(last['level']),
    chains: [...chains.values()],
    detail: detail === undefined || parsed === undefined ? undefined : { ...parsed, tMs: detail.tMs },
  }
}

/** `shed-8 otp path 1 (required suite); ...` */
function changesOf({ tMs, ...facts }: RecordedEvent): readonly ExplainedChain[] {
  return String(facts['why'] ?? '')
    .split('; ')
    .flatMap((part) => {
      const [, id, state, path, why] = /^(\S+) (off|aes|otp) path (\d+) \((.*)\)$/.exec(part) ?? []
      if (id === undefined || state === undefined || why === undefined) return []
      return [{ id, state, path: Number(path), why, sinceMs: tMs }]
    })
}

/** A detail as the master wrote it; undefined if it is none. */
function detailOf(text: string): PlanDetail | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isDetail(value) ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isDetail(value: unknown): value is PlanDetail {
  if (typeof value !== 'object' || value === null) return false
  const lists = ['supplyBits', 'stockLowerBits', 'availableBits', 'usedBits', 'slackBits', 'rowPrices', 'chains']
  const facts = value as Readonly<Record<string, unknown>>
  return (
    lists.every((name) => Array.isArray(facts[name])) &&
    (facts['deviations'] === undefined || Array.isArray(facts['deviations'])) &&
    ['stepMs', 'stockBits', 'otherBits', 'objective', 'gap'].every((name) => typeof facts[name] === 'number')
  )
}
