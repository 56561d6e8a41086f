/** The RTU: point database, events, interrogation, commands, clock. */
export type { RtuConfig, RtuPoint, RtuTcp } from './config.ts'
export { Rtu } from './rtu.ts'
export { RtuNode } from './rtu-node.ts'
export { checkStation, type StationProblem } from './station/config-check.ts'
export type {
  CommandKind,
  CommandSpec,
  FileSpec,
  PointSpec,
  ProcessCommand,
  Redundancy,
  StationConfig,
  StationEffect,
  StationInput,
  StreamEffect,
  StreamInput,
} from './station/contract.ts'
export { POINT_KINDS, type PointKind, type Quality } from './station/point-kinds.ts'
export { ControlledStation } from './station/station.ts'
export type { StationStatus } from './station/status.ts'
