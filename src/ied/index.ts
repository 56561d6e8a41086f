/** The IED: sensor or actuator on a bus of the grid. */
export type { IedConfig } from './config.ts'
export { Ied } from './ied.ts'
