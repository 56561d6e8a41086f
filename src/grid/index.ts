import { ieee39 } from './cases/ieee39.ts'
import { ieee118 } from './cases/ieee118.ts'
import type { GridCase } from './grid-case.ts'
import { GridError } from './grid-case.ts'

export type { Disturbance } from './disturbance.ts'
export type { GridBranch, GridBus, GridCase, Machine, Sexs, Tgov1 } from './grid-case.ts'
export { GridError } from './grid-case.ts'
export { GridModel, STEP_MS } from './grid-model.ts'
export type { DisturbanceNow, GridEffect, GridInput, GridNodeOptions } from './grid-node.ts'
export { GridNode } from './grid-node.ts'
export type { MachineModel } from './machine-dynamics.ts'
export type { GridLine, GridLineFault, GridMessage } from './port.ts'
export { encodeGridMessage, GridLineDecoder, MAX_LINE_BYTES, parseGridReply, parseGridRequest } from './port.ts'
export type { PowerFlow } from './power-flow.ts'
export { solvePowerFlow } from './power-flow.ts'
export type { GridSummary } from './summary.ts'

/** Names `gridCase` knows. */
export const GRID_CASES = ['ieee39', 'ieee118'] as const
export type GridCaseName = (typeof GRID_CASES)[number]

/** A built-in case by name; its data is built when asked for. @throws GridError for an unknown name. */
export function gridCase(name: string): GridCase {
  switch (name) {
    case 'ieee39':
      return ieee39()
    case 'ieee118':
      return ieee118()
    default:
      throw new GridError(`unknown case ${JSON.stringify(name)}, known are ${GRID_CASES.join(', ')}`)
  }
}
