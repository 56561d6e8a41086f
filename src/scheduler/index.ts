export { type Chain, ChainError, type ChainSpec, type ChainState, chain, parseChain } from './chain.ts'
export { type GreedyOptions, GreedyPolicy } from './greedy.ts'
export { demandBps, kappaBits, pooledHops } from './key-cost.ts'
export {
  type Decision,
  type Plan,
  type Policy,
  pathIsUp,
  type SchedulerView,
  samePlan,
  stateOfSuite,
  suiteOfState,
  type Why,
} from './policy.ts'
export { type PolicySpec, policyOf } from './policy-of.ts'
export { StaticPolicy } from './static.ts'
export { chainSetProblems, type LinkInfo, linkBetween, type Topology, topology } from './topology.ts'
