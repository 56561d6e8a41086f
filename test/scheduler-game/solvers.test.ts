import t from 'tap'
import { kktSolver } from '../../bench/game/highs.ts'
import { type InstanceSpec, randomGame } from '../../bench/game/instances.ts'
import {
  compileGame,
  demandOf,
  enumerateGame,
  frontierOf,
  type Game,
  type GameAgent,
  GameError,
  lossOf,
  planAlone,
  solveChoice,
  solveExact,
  solveLdCp,
  solveSocial,
} from '../../src/scheduler/game/index.ts'

/** Losses are sums of numbers rounded to millionths. */
const ROUNDING = 1e-4

function tiny(seed: number): Game {
  return randomGame(seed, {
    leaderChains: 1 + (seed % 3),
    followerChains: [2 + (seed % 2), 2, 1 + (seed % 2)].slice(0, 1 + (seed % 3)),
    budgetRatio: 0.2 + 0.1 * (seed % 8),
    floorRatio: 0.3 * (seed % 4),
    followerWeight: 0.5 * (seed % 3),
    coarse: seed % 5 < 2,
  })
}

const MEDIUM: InstanceSpec = { leaderChains: 15, followerChains: [12, 12, 12], budgetRatio: 0.5, followerWeight: 0.5 }

t.test('the exact solver finds what trying everything finds, on 200 tiny games, ties among them', async (t) => {
  for (const tie of ['optimistic', 'pessimistic'] as const) {
    const wrong = Array.from({ length: 200 }, (_, seed) => seed).filter((seed) => {
      const game = tiny(seed)
      const found = enumerateGame(game, tie)
      const { answer } = solveExact(game, { tie })
      return (
        found === undefined ||
        answer.gap !== 0 ||
        Math.abs(found.loss.objective - answer.loss.objective) > ROUNDING ||
        answer.lowerBound > found.loss.objective + ROUNDING
      )
    })
    t.same(wrong, [], `${tie}: seeds that differ`)
  }
})

t.test('an indifferent follower takes the leader’s side or the other, as the tie rule says', async (t) => {
  const twin = (id: string, felt: number) => ({
    id,
    options: [
      { state: 0 as const, path: 0, meanBits: 0, varianceBits2: 0, ownLoss: 5, leaderLoss: felt },
      { state: 2 as const, path: 0, meanBits: 100, varianceBits2: 0, ownLoss: 0, leaderLoss: 0 },
    ],
  })
  const game: Game = {
    leader: { id: 'tso', chains: [] },
    followers: [{ id: 'dso', chains: [twin('a', 3), twin('b', 8)], floorBits: 0 }],
    followerWeight: 0,
    budgetBits: 150,
    riskPriceBits: 0,
  }
  t.equal(solveExact(game).answer.loss.leader, 3, 'the chain the leader needs more is kept')
  t.equal(solveExact(game, { tie: 'pessimistic' }).answer.loss.leader, 8)
  for (const tie of ['optimistic', 'pessimistic'] as const) {
    t.equal(enumerateGame(game, tie)?.loss.leader, solveExact(game, { tie }).answer.loss.leader, tie)
  }
})

t.test('a frontier holds the integer optimum of every grant', async (t) => {
  const [follower] = randomGame(3, MEDIUM).followers
  const drawn = randomGame(3, MEDIUM)
  const game = { ...drawn, leader: follower ?? drawn.leader, followers: [] }
  const { leader } = compileGame(game)
  const frontier = frontierOf(leader, { capBits: 1e9, tie: 'optimistic' })
  const classes = leader.map(({ weights, own }) => ({ weights, costs: own }))
  const wrong: number[] = []
  for (let grant = 0; grant < (frontier.weights.at(-1) ?? 0) * 1.1; grant += 97) {
    const best = solveChoice(classes, grant)?.cost
    const point = frontier.weights.findLastIndex((weight) => weight <= grant)
    if (best !== frontier.own[point]) wrong.push(grant)
  }
  t.same(wrong, [])
})

t.test('a warm start uses the frontiers of followers that have not changed, and changes no answer', async (t) => {
  const game = randomGame(5, { ...MEDIUM, floorRatio: 0.8 })
  const cold = solveExact(game, { bounded: false })
  const later = { ...game, budgetBits: game.budgetBits - 700, followers: game.followers.map(lowered) }
  const [warm, fresh] = [solveExact(later, { memo: cold.memo, bounded: false }), solveExact(later)]
  t.equal(warm.reusedFrontiers, 3)
  t.equal(warm.answer.loss.objective, fresh.answer.loss.objective)
  t.equal(warm.answer.gap, 0)
  const shorter = later.followers.map((follower, j) =>
    j === 0 ? { ...follower, chains: follower.chains.slice(1) } : follower,
  )
  const moved = { ...later, followers: shorter.map((follower) => ({ ...follower, floorBits: 0 })) }
  t.equal(solveExact(moved, { memo: cold.memo, bounded: false }).reusedFrontiers, 2)
})

function lowered<T extends { readonly floorBits: number }>(follower: T): T {
  return { ...follower, floorBits: Math.floor(follower.floorBits / 2) }
}

t.test('bounds leave nothing out that matters', async (t) => {
  for (let seed = 0; seed < 40; seed++) {
    const game = randomGame(seed, { ...MEDIUM, followerWeight: 0.1 + 0.3 * (seed % 4), floorRatio: 0.24 * (seed % 5) })
    const [bounded, whole] = [solveExact(game), solveExact(game, { bounded: false })]
    const sum = (points: readonly number[]) => points.reduce((total, count) => total + count, 0)
    if (Math.abs(bounded.answer.loss.objective - whole.answer.loss.objective) > ROUNDING) t.fail(`seed ${seed}`)
    if (sum(bounded.points) > sum(whole.points)) t.fail(`seed ${seed} has more points with bounds`)
  }
  t.pass()
})

t.test('240 chains are solved to a proof, also when the search is cut short the bound is one', async (t) => {
  const game = randomGame(1, { leaderChains: 60, followerChains: [60, 60, 60], budgetRatio: 0.5, floorRatio: 0.9 })
  const { answer } = solveExact(game)
  t.equal(answer.gap, 0)
  t.ok(answer.leaderBits + answer.usedBits.reduce((sum, bits) => sum + bits, 0) <= game.budgetBits)
  t.ok(answer.grantsBits.every((grant, j) => grant >= (game.followers[j]?.floorBits ?? 0)))
  const cut = solveExact(game, { maxStates: 1 }).answer
  t.ok(cut.lowerBound <= answer.loss.objective && cut.loss.objective >= answer.loss.objective)
})

t.test('with the coupling slack every solver gives what each agent would do alone', async (t) => {
  const kkt = await kktSolver(20)
  for (const seed of [1, 2, 3]) {
    const drawn = randomGame(seed, { ...MEDIUM, budgetRatio: 8 })
    const game = { ...drawn, followers: drawn.followers.map(unfelt) }
    const alone = [game.leader, ...game.followers].map((agent) => planAlone(agent, 1e9, game.riskPriceBits))
    const [leader, ...followers] = alone
    const answers = {
      exact: solveExact(game).answer,
      improved: solveLdCp(game).answer,
      printed: solveLdCp(game, { form: 'printed' }).answer,
      social: solveSocial(game),
      kkt: kkt(game).answer,
    }
    for (const [name, answer] of Object.entries(answers)) {
      t.same([answer?.leader, answer?.followers], [leader, followers], `${name}, seed ${seed}`)
    }
  }
})

/** Without what the leader feels, so that a planner of all has the same aims as each alone. */
function unfelt<T extends GameAgent>(agent: T): T {
  return {
    ...agent,
    chains: agent.chains.map(({ id, options }) => ({
      id,
      options: options.map((option) => ({ ...option, leaderLoss: 0 })),
    })),
  }
}

t.test('with one follower removed, every solver gives the answers of the game without it', async (t) => {
  const kkt = await kktSolver(20)
  const game = randomGame(11, MEDIUM)
  const solvers = {
    exact: (g: Game) => solveExact(g).answer,
    improved: (g: Game) => solveLdCp(g).answer,
    social: solveSocial,
    kkt: (g: Game) => kkt(g).answer,
  }
  for (const [name, solve] of Object.entries(solvers)) {
    const emptied = { ...game, followers: game.followers.with(1, { id: 'gone', chains: [], floorBits: 0 }) }
    const without = { ...game, followers: game.followers.filter((_, j) => j !== 1) }
    const [a, b] = [solve(emptied), solve(without)]
    t.same([a?.leader, a?.followers[0], a?.followers[2]], [b?.leader, b?.followers[0], b?.followers[1]], name)
    const alone = solve({ ...game, followers: [] })
    t.same(alone?.leader, planAlone(game.leader, game.budgetBits, game.riskPriceBits), `${name}: nobody but the leader`)
  }
  t.same(
    solveLdCp({ ...game, followers: [] }, { form: 'printed' }).answer.leader,
    planAlone(game.leader, game.budgetBits, game.riskPriceBits),
  )
})

t.test(
  'HiGHS on the KKT form agrees with LD-CP on whole steps, and is never better than the exact solver',
  async (t) => {
    const kkt = await kktSolver(30)
    for (const seed of [0, 2, 4, 6, 8]) {
      const game = randomGame(seed, { ...MEDIUM, leaderChains: 8, followerChains: [6, 6, 6] })
      const form = kkt(game).answer
      const steps = solveLdCp(game, { pairsKept: 1, shrinking: false, proximalFade: 0, polish: false }).answer
      const exact = solveExact(game).answer
      t.ok(form !== undefined && Math.abs(form.loss.objective - steps.loss.objective) < 1e-3, `seed ${seed}`)
      t.ok(exact.loss.objective <= steps.loss.objective + ROUNDING)
    }
  },
)

t.test('LD-CP tells how it came to its answer and how far it is from the optimum', async (t) => {
  const distances: number[] = []
  for (let seed = 0; seed < 20; seed++) {
    const game = randomGame(seed, { ...MEDIUM, floorRatio: 0.3 * (seed % 4) })
    const improved = solveLdCp(game)
    const printed = solveLdCp(game, { form: 'printed' })
    for (const { answer, trace, residual, distance } of [improved, printed]) {
      t.ok(distance !== undefined && distance >= -1e-9 && residual >= 0)
      t.ok(answer.lowerBound <= answer.loss.objective)
      t.ok(trace.length >= 1 && trace.every(({ pairsKept, pairs }) => pairsKept <= pairs))
    }
    t.ok(improved.converged)
    t.equal(improved.trace.at(-1)?.change, 0)
    distances.push(improved.distance ?? Infinity)
    t.ok((printed.distance ?? 0) >= (improved.distance ?? 0) - 1e-9, 'the printed form is no better')
  }
  t.ok((distances.sort((a, b) => a - b)[10] ?? 1) < 0.01, 'median loss under 1 %')
})

t.test('a budget of iterations ends LD-CP, and fewer pairs kept see less', async (t) => {
  const game = randomGame(2, MEDIUM)
  const one = solveLdCp(game, { form: 'printed', maxIterations: 1 })
  t.equal(one.trace.length, 1)
  const objectives = [0, 0.2, 1].map(
    (pairsKept) => solveLdCp(game, { pairsKept, proximalWeight: 0, polish: false }).answer.loss.objective,
  )
  t.ok((objectives[0] ?? 0) >= (objectives[1] ?? 0) && (objectives[1] ?? 0) >= (objectives[2] ?? 0))
})

t.test('as printed, with no weight on the followers and no floor, the leader starves them', async (t) => {
  const game = randomGame(4, { ...MEDIUM, budgetRatio: 0.25, followerWeight: 0 })
  const { answer } = solveExact(game)
  const floored = solveExact({
    ...game,
    followers: game.followers.map((follower) => ({ ...follower, floorBits: Math.floor(game.budgetBits / 5) })),
  }).answer
  t.ok(answer.usedBits.reduce((sum, bits) => sum + bits, 0) < 0.6 * game.budgetBits)
  t.ok(floored.usedBits.every((bits) => bits > 0.15 * game.budgetBits))
  t.ok(floored.loss.leader >= answer.loss.leader - ROUNDING)
})

t.test('the social optimum is a bound on what all agents lose together', async (t) => {
  for (let seed = 0; seed < 10; seed++) {
    const game = randomGame(seed, { ...MEDIUM, floorRatio: 0.9 })
    const optimum = solveSocial(game)
    t.ok(optimum.social <= solveExact(game).answer.loss.social + ROUNDING)
    t.equal(optimum.social, lossOf(game, optimum.leader, optimum.followers).social)
    t.ok(demandOf(game.leader, optimum.leader).meanBits <= game.budgetBits)
  }
})

t.test('a game that makes no sense is refused', async (t) => {
  const game = randomGame(1, MEDIUM)
  t.throws(() => solveExact({ ...game, followerWeight: Number.NaN }), GameError)
  t.throws(() => solveExact({ ...game, followers: game.followers.map((f) => ({ ...f, floorBits: 1e9 })) }), /floors/)
  t.throws(() => solveExact({ ...game, leader: { id: 'x', chains: [{ id: 'c', options: [] }] } }), /no option/)
  t.throws(() => planAlone({ id: 'x', chains: game.leader.chains }, -1, 0), GameError)
})
