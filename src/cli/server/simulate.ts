import type { PointSpec, StationConfig, StationInput } from '../../rtu/index.ts'

/** How often the values move, ms. */
export const SIMULATION_MS = 1_000

/**
 * Values of a process that goes up and down, for the points that no command moves; all of them functions of time and
 * address, so that two runs look alike.
 */
export function simulatedValues({ points, commands = [] }: StationConfig, timeMs: number): readonly StationInput[] {
  const commanded = new Set(commands.map(({ ca, pointIoa }) => `${ca}:${pointIoa}`))
  return points
    .filter(({ ca, ioa }) => !commanded.has(`${ca}:${ioa}`))
    .flatMap((point): StationInput[] => {
      const value = simulatedValue(point, timeMs / 1000)
      return value === undefined ? [] : [{ kind: 'setPoint', ca: point.ca, ioa: point.ioa, value }]
    })
}

function simulatedValue({ kind, ioa, value: initial = 0 }: PointSpec, timeS: number): number | undefined {
  const wave = Math.sin((2 * Math.PI * (timeS + ioa * 7)) / 60)
  const turn = Math.floor(timeS / (5 + (ioa % 7)))
  switch (kind) {
    case 'single':
      return turn % 2
    case 'double':
      return 1 + (turn % 2)
    case 'step':
      return Math.round(10 * wave)
    case 'bitstring':
      return 2 ** (turn % 32)
    case 'packed':
      return 2 ** (turn % 16)
    case 'normalized':
      return 0.9 * wave
    case 'scaled':
      return initial + 20 * wave
    case 'float':
      return initial + wave
    case 'counter':
      return initial + Math.floor(timeS * (1 + (ioa % 5)))
    default:
      return undefined
  }
}
