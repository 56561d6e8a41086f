/** A worker thread of `scheduler-joint`. */
export { jointRun as default } from './joint-run.ts'
