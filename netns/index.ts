export {
  type Availability,
  Capture,
  CaptureError,
  type CaptureOptions,
  type CaptureSummary,
  watchedInterfaces,
} from './capture.ts'
export { type Cleared, clearNamespaces } from './clear-lab.ts'
export { LabError, StateDirError } from './errors.ts'
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
export { commandIn, type KnownLab, knownLabs, namespacesOf } from './known-labs.ts'
export { LabNetwork } from './lab.ts'
export {
  type AppliedBy,
  checkLinks,
  type DirectionCheck,
  type Figure,
  type LinkCheck,
  type LinkCheckOptions,
  type NetworkCheck,
} from './link-check.ts'
export { acquireLab, type LabLock, labHolder } from './lock.ts'
export { controlSocket, LabBusyError, labTempDir, lockFile, type StandingLab } from './lock-record.ts'
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
export { isProcessDir, makeProcessDir } from './process-dir.ts'
export type { Route } from './routes.ts'
export { changeLaws, type Laws, networkOf, type Stood, standLab, takeDown } from './standing.ts'
export { ensureStateDir, stateDirPath } from './state-dir.ts'
