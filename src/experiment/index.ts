/** Scenarios, the plan made from one, and what is made of the records of a run. */

export { type PoolTotals, type Reconciliation, reconcileBooks } from './books.ts'
export { CASES, type CaseId, type Pooling, planOfVariant, scenarioOfVariant, type Variant, variantOf } from './cases.ts'
export {
  labObservations,
  StockTrace,
  TRACE_KINDS,
  TRACE_STEP_MS,
  type TraceKind,
  type TraceOptions,
} from './forecast-traces.ts'
export { BAND_HZ, type ClassMetrics, type KeyMetrics, type Metrics, type MetricsContext, metricsOf } from './metrics.ts'
export { initialBits, isPoolChannel, type PlanOptions, planOf } from './plan.ts'
export { IOA_BASE, type LabPlan, type PlanKeyServer, type PlanLink, type PlanNode } from './plan-types.ts'
export type { LabRecord } from './records.ts'
export { type ReportHead, reportHtml, reportText } from './report.ts'
export { parseScenario } from './scenario.ts'
export { type Scenario, scenarioJsonSchema } from './scenario-schema.ts'
export { ScenarioError } from './scenario-source.ts'
export { type HopTime, type Outcome, type TaskRecord, tasksOf } from './tasks.ts'
export { LabWorld, worldOf } from './world.ts'
