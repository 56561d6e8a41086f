/** The RTU: point database, events, interrogation, commands, clock. */
export type { RtuConfig } from './config.ts'
export { Rtu } from './rtu.ts'
