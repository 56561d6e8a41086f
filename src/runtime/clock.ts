/**
 * Lab time of this process: milliseconds since `epochNs` on the machine's monotonic clock (`process.hrtime`), which all
 * processes of a machine share. Steps of the wall clock do not touch it.
 */
export type LabClock = () => number

export function labClock(epochNs: bigint): LabClock {
  return () => Number(process.hrtime.bigint() - epochNs) / 1e6
}
