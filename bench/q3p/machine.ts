import { cpus, loadavg } from 'node:os'

/** What a figure was measured on. */
export function machine(): string {
  const [first] = cpus()
  const [load = 0] = loadavg()
  return `${first?.model.trim() ?? 'unknown CPU'}, ${cpus().length} cores, load ${load.toFixed(1)}, node ${process.version}`
}

/** The value below which `ratio` (0..1) of the samples lie. Sorts them in place. */
export function quantile(samples: Float64Array, ratio: number): number {
  samples.sort()
  return samples[Math.min(samples.length - 1, Math.floor(ratio * samples.length))] ?? Number.NaN
}
