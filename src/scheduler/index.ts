export { type Chain, ChainError, type ChainSpec, type ChainState, chain, parseChain } from './chain.ts'
export * from './game/index.ts'
export { type GreedyOptions, GreedyPolicy } from './greedy.ts'
export { demandBps, kappaBits, pooledHops } from './key-cost.ts'
export {
  type CentreTalk,
  type Decision,
  type Plan,
  type Policy,
  pathIsUp,
  type SchedulerView,
  type StockOutlook,
  samePlan,
  stateOfSuite,
  suiteOfState,
  type Why,
} from './policy.ts'
export { type PolicyMeans, type PolicySpec, policyOf, type RollingSpec } from './policy-of.ts'
export { type Ascent, ascend } from './rolling/ascent.ts'
export { Budget, type Limit } from './rolling/budget.ts'
export type { ChainDetail, DeviationDetail, PlanDetail } from './rolling/detail.ts'
export { type Responses, unavoidableOf, type VoltageResponse, type VoltageResponses } from './rolling/deviations.ts'
export { Dual } from './rolling/dual.ts'
export { binaryName, evenTangents, milpText, planOfBinaries, type Tangents } from './rolling/milp.ts'
export {
  chordRows,
  type DeviationTerm,
  type Judgement,
  judge,
  type LinearRows,
  leastSlack,
  type OptionPlan,
  type RollingProblem,
  tangentRows,
} from './rolling/problem.ts'
export { Allocation, normalQuantile, quantilesOf, type RiskBound } from './rolling/quantile.ts'
export { type RollingOptions, RollingPolicy, type Solver } from './rolling/rolling-policy.ts'
export { type NoPlan, type Solution, type SolveOptions, solve, type WarmStart } from './rolling/solve.ts'
export { StaticPolicy } from './static.ts'
export { chainSetProblems, type LinkInfo, linkBetween, type Topology, topology } from './topology.ts'
