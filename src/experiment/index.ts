/** Scenarios, the plan made from one, and what is made of the records of a run. */

export { type PoolTotals, type Reconciliation, reconcileBooks } from './books.ts'
export { CASES, type CaseId, type Pooling, scenarioOfVariant, type Variant, variantOf } from './cases.ts'
export { type ChainProblem, type CheckedChains, chainEntriesOf, chainSetsOf, withChains } from './chain-set.ts'
export { type ChainsSource, chainsFileOf, plainChains, yamlChains } from './chains-source.ts'
export {
  FAIRNESS_NOTES,
  fairnessCsv,
  fairnessJobs,
  fairnessSummary,
  fairnessText,
} from './fairness/fairness-study.ts'
export { type GameJob, type GameResult, runGame } from './fairness/game-run.ts'
export { ieee118Agents, TERMS, TrunkSupply } from './fairness/zones.ts'
export {
  labObservations,
  StockTrace,
  TRACE_KINDS,
  TRACE_STEP_MS,
  type TraceKind,
  type TraceOptions,
} from './forecast-traces.ts'
export { KME_ID } from './key-check.ts'
export { BAND_HZ, type ClassMetrics, type KeyMetrics, type Metrics, type MetricsContext, metricsOf } from './metrics.ts'
export { initialBits, isPoolChannel, type PlanOptions, planOf } from './plan.ts'
export {
  IOA_BASE,
  type LabPlan,
  type PlanEtsi014,
  type PlanKeyServer,
  type PlanLink,
  type PlanNode,
  type PlanSae,
} from './plan-types.ts'
export type { LabRecord } from './records.ts'
export { type ReportHead, reportHtml, reportTables, reportText } from './report.ts'
export { parseScenario } from './scenario.ts'
export { policyNames, scenarioJsonSchema } from './scenario-json.ts'
export { ChainEntry, type Scenario, type ScenarioChain } from './scenario-schema.ts'
export { ScenarioError } from './scenario-source.ts'
export { ablation } from './study/ablation.ts'
export { fidelityOf, fidelityText, type Pair } from './study/fidelity.ts'
export { breaksFigure, fairnessFigure, iterationsFigure, trrFigure, type VegaLiteSpec } from './study/figures.ts'
export { plainRuns } from './study/plain-runs.ts'
export { type Job, type RunMetrics, type RunResult, runOf } from './study/run-of.ts'
export { sensitivity } from './study/sensitivity.ts'
export { type Estimate, estimate } from './study/statistics.ts'
export { jobsOf, MEASURES, type PaperFigures, type Row, type RowSummary, type Study, summaryOf } from './study/study.ts'
export { studyCsv, studyHtml, studyText } from './study/study-report.ts'
export { table1 } from './study/table1.ts'
export { type HopTime, type Outcome, type TaskRecord, tasksOf } from './tasks.ts'
export { LabWorld, type LabWorldOptions, worldOf } from './world.ts'
