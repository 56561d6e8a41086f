export {
  type Availability,
  Capture,
  CaptureError,
  type CaptureOptions,
  type CaptureSummary,
  watchedInterfaces,
} from './capture.ts'
export {
  type Detected,
  detectIsolation,
  hasNetem,
  INSIDE_USERNS,
  IsolationError,
  insideUserns,
  reexecInUserns,
} from './isolation.ts'
export { type Janitor, startJanitor } from './janitor.ts'
export { type Cleared, clearLeftovers, LabError, LabNetwork } from './lab.ts'
export { acquireLab, LabBusyError, type LabLock, labHolder, lockFile } from './lock.ts'
export { netemArgs } from './netem.ts'
export {
  checkLabName,
  type Isolation,
  interfaceNames,
  type LabNet,
  type LabPlan,
  type LinkEnd,
  type LinkPlan,
  labOfNamespace,
  type NodePlan,
  namespaceName,
  PlanError,
  planLab,
} from './plan.ts'
export { ensureStateDir, stateDirPath } from './state-dir.ts'
