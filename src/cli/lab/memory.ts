import { readFileSync } from 'node:fs'

/** Resident memory of a process, MB (10^6 bytes), or undefined if it is gone. */
export function memoryOfMb(pid: number): number | undefined {
  try {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return kib === undefined ? undefined : (Number(kib) * 1024) / 1e6
  } catch {
    return undefined // The process ended between our look at the list and now.
  }
}
