/** A worker thread of `scheduler-joint`. */
export { jointRun } from './joint-run.ts'
