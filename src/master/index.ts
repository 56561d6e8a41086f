/** The control centre: controlling station, scheduler and applications. */
export type { AgcConfig } from './agc.ts'
export type { MasterChain, MasterConfig } from './config.ts'
export { Master, type MasterOptions } from './master.ts'
export type { MeasurementsConfig } from './measurements.ts'
export type { ChainSet, MasterOrder } from './orders.ts'
export type { ChainCounts } from './planning.ts'
export type { SetpointConfig } from './setpoints.ts'
export type { SheddingConfig } from './shedding.ts'
export {
  CONTROLLING_STATION_DEFAULTS,
  ControllingStation,
  type ControllingStationEffect,
  type ControllingStationInput,
  type ControllingStationOptions,
} from './station/controlling-station.ts'
export type {
  Awaited,
  CommandMode,
  CommandOperation,
  CommandType,
  FileEntry,
  Operation,
  OperationResult,
  ParameterOperation,
  ParameterType,
} from './station/operation.ts'
export type { MasterStatus } from './status.ts'
export type { TaskReason } from './tasks.ts'
