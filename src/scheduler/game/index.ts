/** TSO and DSOs on one key pool: the Stackelberg game (31)-(35), its solvers, fairness and policies. */

export type { CentreSeat } from './centre-policies.ts'
export { type ChanceInput, chanceHolds, normalQuantile, type SharedRow, sharedRow, spreadOf } from './chance.ts'
export { type ChoiceOptions, type ChoiceResult, solveChoice } from './choice.ts'
export type { ChoiceClass } from './choice-class.ts'
export { type Enumerated, enumerateGame } from './enumerate.ts'
export { type ExactMemo, type ExactOptions, type ExactResult, solveExact } from './exact.ts'
export { type AgentDelivery, type Fairness, fairnessOf, jain, priceOfFairness } from './fairness.ts'
export { answerTo, type Frontier, frontierOf } from './frontier.ts'
export {
  type Budget,
  type FollowerBasis,
  type FollowerEffect,
  type FollowerInput,
  type FollowerNow,
  type FollowerOptions,
  GrantFollower,
} from './grant-follower.ts'
export {
  GrantLeader,
  type LeaderBasis,
  type LeaderEffect,
  type LeaderInput,
  type LeaderOptions,
  type LeaderRound,
  type RoundResult,
  type RoundSolver,
  type RoundTable,
  type Seat,
  type SeatGrant,
} from './grant-leader.ts'
export type { GrantMessage, Offer, OfferAnswers, OfferForm, OfferPoint } from './grant-messages.ts'
export { encodeGrantMessage, GrantAssembler, peekGrantPart } from './grant-octets.ts'
export { type KktForm, kktAnswer, kktMilp } from './kkt-milp.ts'
export { type AgentSpec, type GameSpec, type LabGameOptions, LabGamePolicy } from './lab-policy.ts'
export { CHAINS_ALONE, type LabTerms, taskChainOf } from './lab-terms.ts'
export { type LdCpOptions, type LdCpResult, type LdCpRound, solveLdCp } from './ld-cp.ts'
export {
  type Choices,
  compileGame,
  demandOf,
  type Game,
  type GameAgent,
  type GameAnswer,
  type GameChain,
  GameError,
  type GameFollower,
  type GameLoss,
  type GameOption,
  lossOf,
  type TieRule,
} from './model.ts'
export {
  type AgentView,
  demandShares,
  type GameDecision,
  type GamePolicy,
  type GameView,
  gameOf,
  SocialPolicy,
  SplitPolicy,
  type StackelbergOptions,
  StackelbergPolicy,
} from './policies.ts'
export { roundSolverOf } from './round-solvers.ts'
export { planAlone, type SocialOptimum, solveSocial } from './single.ts'
export { type KeySupply, type StockReport, StockWorld, type StockWorldOptions, type WorldAgent } from './stock-world.ts'
export { fullDemandBps, type GridHelp, type GridTerms, gameChainOf, type TaskChain } from './terms.ts'
