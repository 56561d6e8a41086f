import { solveChoice } from './choice.ts'
import type { ChoiceClass, Class } from './choice-class.ts'
import { frontierOf } from './frontier.ts'
import { type Ladder, ladderOf, stepsWithin } from './ladder.ts'
import type { CompiledGame, Options } from './model.ts'

/** What may be left out of the followers' frontiers without losing the optimum. */
export type Bounds = {
  /** Own loss of each follower's answer to its floor: better ones alone can be had. */
  readonly mostOwn: readonly number[]
  /** For each follower: a point with own loss + price x key above this is in no best answer. */
  readonly within: readonly { readonly price: number; readonly limit: number }[]
}

/**
 * Bounds from the followers' answers to their floors and whole steps of their relaxed answers above. All of them are
 * integer answers, so the leader's best choice among them is an answer to the game; its objective, held against a Lagrangian bound of all other parts, says how far
 * from the relaxation each follower's point may lie.
 *
 * What the leader counts of a follower's option is at least omega x own loss plus a constant; without weight on the
 * followers (omega = 0) that says nothing. Undefined then.
 *
 * @param own the leader's chains, by what it counts of them
 */
export function boundsOf(compiled: CompiledGame, own: readonly Class[], followerWeight: number): Bounds | undefined {
  if (!(followerWeight > 0)) return undefined
  const { leader, followers, floors, budget } = compiled
  const parts = followers.map((chains, j) => partOf(chains, floors[j] ?? 0, followerWeight))
  const found = solveChoice([...own, ...parts.map(({ items }) => items)], budget)
  if (found === undefined) return undefined
  const { multiplier, cost } = found
  const leads = own.reduce((sum, options) => sum + cheapest(options.weights, options.costs, multiplier), 0)
  const least = parts.map((part) => leastOf(part, followerWeight, multiplier))
  const all = leads + least.reduce((sum, bound) => sum + bound, 0) - multiplier * budget
  // Options are rounded one by one: half a millionth each on either side.
  const rounding = 2 + leader.length + followers.reduce((sum, chains) => sum + chains.length, 0)
  return {
    mostOwn: parts.map(({ mostOwn }) => mostOwn),
    within: parts.map(({ constant }, j) => ({
      price: multiplier / followerWeight,
      limit: (cost + rounding - (all - (least[j] ?? 0)) - constant) / followerWeight,
    })),
  }
}

type Part = {
  readonly chains: readonly Options[]
  readonly ladder: Ladder
  /** The answer to the floor, and whole steps with more key: key, and the leader's view. */
  readonly items: ChoiceClass
  readonly mostOwn: number
  /** The leader's view of any states is at least omega x own loss + this. */
  readonly constant: number
}

function partOf(chains: readonly Options[], floor: number, followerWeight: number): Part {
  const ladder = ladderOf(chains)
  // The lightest options answer a floor that is below their key.
  const grant = Math.max(floor, ladder.weights[0] ?? 0)
  const below = stepsWithin(ladder, grant)
  const price = ladder.rungs[below]?.ratio ?? 0
  const greedy = filledLoss(chains, ladder, grant)
  // The frontier near the floor alone: its last point is the answer to the floor, ties and all.
  const near = frontierOf(chains, {
    capBits: grant,
    tie: 'optimistic',
    within: { price, limit: greedy + price * grant },
  })
  const mostOwn = near.own.at(-1) ?? Infinity
  const items = {
    weights: Float64Array.of(...near.weights.subarray(-1), ...ladder.weights.subarray(below + 1)),
    costs: Float64Array.of(...near.view.subarray(-1), ...ladder.view.subarray(below + 1)),
  }
  let constant = 0
  for (const { own, view } of chains) {
    constant += Math.min(...view.map((seen, i) => seen - followerWeight * (own[i] ?? 0)))
  }
  return { chains, ladder, items, mostOwn, constant }
}

/** Own loss after the whole steps that a grant allows, and then, as long as there is any, the change of a chain that saves most and still fits. */
function filledLoss(chains: readonly Options[], ladder: Ladder, grant: number): number {
  const below = stepsWithin(ladder, grant)
  const taken = [...ladder.choices(below)]
  let left = grant - (ladder.weights[below] ?? 0)
  let loss = ladder.own[below] ?? 0
  for (;;) {
    let [saved, used, chain, option] = [0, 0, -1, 0]
    for (const [k, { weights, own }] of chains.entries()) {
      const now = taken[k] ?? 0
      for (let i = 0; i < weights.length; i++) {
        const less = (own[now] ?? 0) - (own[i] ?? 0)
        const more = (weights[i] ?? 0) - (weights[now] ?? 0)
        if (less > saved && more <= left) [saved, used, chain, option] = [less, more, k, i]
      }
    }
    if (chain < 0) return loss
    taken[chain] = option
    loss -= saved
    left -= used
  }
}

/** Least view + multiplier x key over all answers of a follower that its floor allows: the better of two bounds. */
function leastOf({ chains, ladder, mostOwn, constant }: Part, followerWeight: number, multiplier: number): number {
  const apart = chains.reduce((sum, { weights, view }) => sum + cheapest(weights, view, multiplier), 0)
  let relaxed = Infinity
  const { weights, own } = ladder
  for (let k = 0; k < weights.length; k++) {
    const [loss, key] = [own[k] ?? 0, weights[k] ?? 0]
    if (loss <= mostOwn) relaxed = Math.min(relaxed, followerWeight * loss + multiplier * key)
    const [nextLoss, nextKey] = [own[k + 1] ?? loss, weights[k + 1] ?? key]
    if (loss <= mostOwn || nextLoss > mostOwn) continue
    // Where the relaxed answer has just the own loss of the answer to the floor.
    const share = (loss - mostOwn) / (loss - nextLoss)
    relaxed = Math.min(relaxed, followerWeight * mostOwn + multiplier * (key + share * (nextKey - key)))
  }
  return Math.max(apart, relaxed + constant)
}

function cheapest(weights: Float64Array, costs: Float64Array, multiplier: number): number {
  let least = Infinity
  for (const [i, weight] of weights.entries()) least = Math.min(least, (costs[i] ?? 0) + multiplier * weight)
  return least
}
