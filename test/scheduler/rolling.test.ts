import t from 'tap'
import { guessedSpread, instance, nextTick, withVoltages } from '../../bench/scheduler/instances.ts'
import { loadHighs } from '../../src/cli/process/highs.ts'
import {
  chordRows,
  judge,
  type LinearRows,
  leastSlack,
  type OptionPlan,
  type RollingProblem,
  type Solution,
  type SolveOptions,
  solve,
  tangentRows,
} from '../../src/scheduler/index.ts'

const PLENTY: SolveOptions = { limit: { kind: 'work', units: 2e7 }, gap: 1e-9 }

/** The best plan by trying all; undefined when none keeps the rows. */
function enumerate(problem: RollingProblem, rows: LinearRows): number | undefined {
  const { chains, steps, optionStart } = problem
  const plan = new Int32Array(chains * steps)
  const widths = Array.from(plan, (_, i) => {
    const l = Math.floor(i / steps)
    return (optionStart[l + 1] ?? 0) - (optionStart[l] ?? 0)
  })
  let best: number | undefined
  for (;;) {
    const judged = judge(problem, plan)
    if (leastSlack(rows, judged) >= 0 && judged.objective < (best ?? Number.POSITIVE_INFINITY)) best = judged.objective
    let i = 0
    for (; i < plan.length; i++) {
      plan[i] = (plan[i] ?? 0) + 1
      if ((plan[i] ?? 0) < (widths[i] ?? 0)) break
      plan[i] = 0
    }
    if (i === plan.length) return best
  }
}

function rowsOf(problem: RollingProblem): LinearRows {
  return tangentRows(problem, guessedSpread(problem))
}

function solved(problem: RollingProblem, rows: LinearRows, options: SolveOptions = PLENTY): Solution {
  const answer = solve(problem, rows, options)
  if (answer.kind !== 'plan') throw new Error('no plan')
  return answer
}

function near(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-6 * Math.max(Math.abs(a), Math.abs(b), 1e-9)
}

/** A problem with a stock that leaves little room: where rows bind and plans differ. */
function scarce(problem: RollingProblem, share: number): RollingProblem {
  const plan = new Int32Array(problem.chains * problem.steps).fill(2)
  const most = judge(problem, plan).usedBits
  const spread = guessedSpread(problem)
  const availableBits = most.map((bits, step) => share * bits + (problem.z[step] ?? 0) * (spread[step] ?? 0))
  return { ...problem, availableBits }
}

t.test('the answer is the best of all plans, with and without frequency, one path and two', async (t) => {
  const wrong: unknown[] = []
  let feasible = 0
  for (let seed = 1; seed <= 120; seed++) {
    const paths = seed % 3 === 0 ? 2 : 1
    const [chains, steps] = paths === 2 ? [2, 2] : seed % 2 === 0 ? [2, 3] : [3, 2]
    const problem = scarce(
      instance(seed, { chains, steps, paths, frequency: seed % 4 !== 0 }).problem,
      0.2 + (seed % 7) / 10,
    )
    const rows = rowsOf(problem)
    const best = enumerate(problem, rows)
    const answer = solve(problem, rows, PLENTY)
    if (best === undefined) {
      if (answer.kind === 'plan') wrong.push({ seed, answer: 'a plan where there is none' })
      continue
    }
    feasible++
    if (answer.kind !== 'plan' || !answer.proven || !near(answer.objective, best)) wrong.push({ seed, best, answer })
  }
  t.same(wrong, [])
  t.ok(feasible > 60, `${feasible} of them have a plan`)
})

t.test('whatever the limit, the bound is below the best value, and the plan keeps the rows', async (t) => {
  const wrong: unknown[] = []
  for (let seed = 1; seed <= 40; seed++) {
    const problem = scarce(instance(seed, { chains: 3, steps: 2 }).problem, 0.5)
    const rows = rowsOf(problem)
    const best = enumerate(problem, rows)
    for (const units of [10, 1_000, 10_000, 100_000]) {
      const answer = solve(problem, rows, { limit: { kind: 'work', units }, gap: 1e-9 })
      if (answer.kind === 'none' || best === undefined) continue
      const judged = judge(problem, answer.plan)
      const isTrue = answer.bound <= best * (1 + 1e-9) && answer.objective >= best * (1 - 1e-9)
      if (!isTrue || leastSlack(rows, judged) < -1e-6 || !near(judged.objective, answer.objective)) {
        wrong.push({ seed, units, best, bound: answer.bound, objective: answer.objective })
      }
    }
  }
  t.same(wrong, [])
})

t.test('value and bound agree with HiGHS on the same program', async (t) => {
  const highs = await loadHighs()
  const wrong: unknown[] = []
  let proven = 0
  for (let seed = 1; seed <= 24; seed++) {
    const [chains, steps] = seed % 2 === 0 ? [6, 3] : [4, 5]
    const problem = scarce(instance(seed, { chains, steps, frequency: seed % 4 === 0 }).problem, 0.3 + (seed % 5) / 10)
    const rows = rowsOf(problem)
    const oracle = highs(problem, rows, { gap: 1e-9, limitS: 3 })
    const answer = solve(problem, rows, PLENTY)
    const objective = answer.kind === 'plan' ? answer.objective : Number.POSITIVE_INFINITY
    if (oracle.isInfeasible !== (answer.kind === 'none')) wrong.push({ seed, answer: answer.kind })
    if (oracle.isInfeasible || answer.kind === 'none') continue
    const isProven = oracle.objective - oracle.bound <= 1e-7 * oracle.objective
    if (isProven && answer.proven) proven++
    if (isProven && answer.proven && !near(objective, oracle.objective)) wrong.push({ seed, objective, oracle })
    if (answer.bound > oracle.objective * (1 + 1e-6)) wrong.push({ seed, bound: answer.bound, oracle })
  }
  t.same(wrong, [])
  t.ok(proven >= 15, `both prove ${proven}`)
})

t.test('with voltages outside their bands the answer is the best of all plans, and no bound is above it', async (t) => {
  const wrong: unknown[] = []
  let moved = 0
  for (let seed = 1; seed <= 80; seed++) {
    const [chains, steps] = seed % 2 === 0 ? [2, 3] : [3, 2]
    const plain = scarce(instance(seed, { chains, steps, frequency: seed % 4 !== 0 }).problem, 0.3 + (seed % 7) / 10)
    const problem = withVoltages(plain, seed)
    const rows = rowsOf(problem)
    const best = enumerate(problem, rows)
    if (best !== undefined && best < -1e-9) wrong.push({ seed, best, unavoidable: problem.deviation?.unavoidable })
    for (const units of [100, 3_000, 2e7]) {
      const answer = solve(problem, rows, { limit: { kind: 'work', units }, gap: 1e-9 })
      if (best === undefined || answer.kind === 'none') {
        if (units === 2e7 && (best === undefined) !== (answer.kind === 'none'))
          wrong.push({ seed, answer: answer.kind })
        continue
      }
      const isTrue = answer.bound <= best * (1 + 1e-9) && answer.objective >= best * (1 - 1e-9)
      if (!isTrue || (units === 2e7 && !(answer.proven && near(answer.objective, best))))
        wrong.push({ seed, units, best, bound: answer.bound, objective: answer.objective })
      // Prices of other deviations, of either sign, must not make a bound too high either.
      const warm = { ...answer.warm, deviationPrices: answer.warm.deviationPrices.map((price) => -1 - price) }
      const again = solve(problem, rows, { ...PLENTY, warm })
      if (again.kind === 'none' || again.bound > best * (1 + 1e-9)) wrong.push({ seed, warm: again })
    }
    const without = solve(plain, rows, PLENTY)
    if (best !== undefined && without.kind === 'plan' && judge(problem, without.plan).objective > best * (1 + 1e-6))
      moved++
  }
  t.same(wrong, [])
  t.ok(moved >= 20, `the voltages change ${moved} plans`)
})

t.test('with voltages, too, value and bound agree with HiGHS', async (t) => {
  const highs = await loadHighs()
  const wrong: unknown[] = []
  let proven = 0
  for (let seed = 1; seed <= 12; seed++) {
    const plain = instance(seed, { chains: 5, steps: 3, frequency: seed % 2 === 0 }).problem
    const problem = withVoltages(scarce(plain, 0.3 + (seed % 5) / 10), seed)
    const rows = rowsOf(problem)
    const oracle = highs(problem, rows, { gap: 1e-9, limitS: 2 })
    const answer = solve(problem, rows, PLENTY)
    if (oracle.isInfeasible !== (answer.kind === 'none')) wrong.push({ seed, answer: answer.kind })
    if (oracle.isInfeasible || answer.kind === 'none') continue
    if (answer.bound > oracle.objective * (1 + 1e-6)) wrong.push({ seed, bound: answer.bound, oracle })
    if (oracle.bound > answer.objective * (1 + 1e-6)) wrong.push({ seed, objective: answer.objective, oracle })
    const isProven = oracle.objective - oracle.bound <= 1e-7 * oracle.objective
    if (!isProven || !answer.proven) continue
    proven++
    if (!near(answer.objective, oracle.objective)) wrong.push({ seed, objective: answer.objective, oracle })
  }
  t.same(wrong, [])
  t.ok(proven >= 8, `both prove ${proven}`)
})

t.test(
  'with many chains, too, the plan keeps the rows and is proven, and no bound is above another plan',
  async (t) => {
    const wrong: unknown[] = []
    for (let seed = 1; seed <= 6; seed++) {
      const plain = instance(seed, { chains: 150, steps: 5, paths: seed === 3 ? 2 : 1 }).problem
      // Rows that all bind, where the key comes in bit by bit, and one at the end.
      const problem = scarce(plain, seed % 2 === 0 ? 0.6 : 0.8)
      const rows = rowsOf(problem)
      const rough = solved(problem, rows, { ...PLENTY, gap: 1e-3 })
      const fine = solved(problem, rows, { ...PLENTY, gap: 1e-5 })
      for (const answer of [rough, fine]) {
        const judged = judge(problem, answer.plan)
        const holds = leastSlack(rows, judged) >= -1e-6 && near(judged.objective, answer.objective)
        if (!holds || !answer.proven) wrong.push({ seed, answer })
      }
      if (fine.bound > rough.objective || rough.bound > fine.objective) wrong.push({ seed, rough, fine })
    }
    t.same(wrong, [])
  },
)

t.test('a warm start from the last tick changes the way, not the answer', async (t) => {
  const wrong: unknown[] = []
  for (let seed = 1; seed <= 10; seed++) {
    const first = instance(seed, { chains: 12, steps: 6 })
    const answer = solve(first.problem, rowsOf(first.problem), { ...PLENTY, gap: 1e-6 })
    if (answer.kind === 'none') continue
    const { problem } = nextTick(first, answer.plan, seed)
    const rows = rowsOf(problem)
    const warm = solve(problem, rows, { ...PLENTY, gap: 1e-6, warm: answer.warm })
    const cold = solve(problem, rows, { ...PLENTY, gap: 1e-6 })
    if (warm.kind !== cold.kind) wrong.push({ seed })
    if (warm.kind === 'none' || cold.kind === 'none') continue
    if (warm.bound > cold.objective * (1 + 1e-9) || cold.bound > warm.objective * (1 + 1e-9)) wrong.push({ seed })
    if (warm.proven && cold.proven && !(Math.abs(warm.objective - cold.objective) <= 2e-6 * cold.objective)) {
      wrong.push({ seed, warm: warm.objective, cold: cold.objective })
    }
  }
  t.same(wrong, [])
})

t.test('with a limit of work the same problem has the same answer', async (t) => {
  const { problem } = instance(7, { chains: 30, steps: 8 })
  const once = (): OptionPlan =>
    solved(problem, rowsOf(problem), { limit: { kind: 'work', units: 3e5 }, gap: 1e-6 }).plan
  t.same(once(), once())
})

t.test('with a clock it stops at its limit', async (t) => {
  const { problem } = instance(11, { chains: 40, steps: 20 })
  let nowMs = 0
  const now = (): number => {
    nowMs += 1
    return nowMs
  }
  const answer = solved(problem, rowsOf(problem), { limit: { kind: 'time', now, limitMs: 60 }, gap: 1e-12 })
  t.ok(answer.elapsedMs < 90, `${answer.elapsedMs} ticks of the clock`)
})

t.test('a row that nothing can keep is named', async (t) => {
  const { problem } = instance(3, { chains: 5, steps: 4 })
  const availableBits = problem.availableBits.map((bits, step) => (step === 2 ? -1 : bits + 1e6))
  const answer = solve({ ...problem, availableBits }, rowsOf({ ...problem, availableBits }), PLENTY)
  t.match(answer, { kind: 'none', proven: true, row: 2 })
})

t.test('an option of infinite cost is never chosen', async (t) => {
  const { problem } = instance(5, { chains: 10, steps: 6, paths: 2 })
  const cost = Float64Array.from(problem.cost)
  for (let l = 0; l < 10; l++)
    for (const m of [1, 2]) cost.fill(Number.POSITIVE_INFINITY, (l * 5 + m) * 6 + 2, (l * 5 + m) * 6 + 5)
  const { plan, objective } = solved({ ...problem, cost }, rowsOf(problem), { ...PLENTY, gap: 1e-3 })
  t.ok(Number.isFinite(objective))
  for (let l = 0; l < 10; l++) for (const step of [2, 3, 4]) t.notOk([1, 2].includes(plan[l * 6 + step] ?? 0))
})

t.test('rows of a fixed spread are safe, those of a chord are a bound', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const problem = scarce(instance(seed, { chains: 8, steps: 5 }).problem, 0.6)
    const { plan } = solved(problem, rowsOf(problem), { ...PLENTY, gap: 1e-4 })
    const judged = judge(problem, plan)
    t.ok(
      judged.slackBits.every((bits) => bits >= -1e-6),
      'what keeps the rows keeps the chance rows',
    )
    const spread = judged.variance2.map((variance, step) =>
      Math.sqrt((problem.supplySdBits[step] ?? 0) ** 2 + variance),
    )
    const exact = leastSlack(tangentRows(problem, spread), judged)
    t.ok(Math.abs(exact - Math.min(...judged.slackBits)) < 1e-6, 'with the plan’s own spread they are the chance rows')
    const chords = chordRows(
      problem,
      judged.variance2.map(() => 0),
      judged.variance2.map((v) => 2 * v),
    )
    t.ok(leastSlack(chords, judged) >= exact - 1e-6)
  }
})
