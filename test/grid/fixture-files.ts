import { readFileSync } from 'node:fs'

// Tests run from build/test/grid; the fixtures stay in the source tree.
const folder = new URL('../../../test/grid/fixtures/', import.meta.url)

export type Solution = {
  readonly vmPu: readonly number[]
  readonly vaDeg: readonly number[]
  readonly vmPublishedPu?: readonly number[]
  readonly vaPublishedDeg?: readonly number[]
  readonly slackMw: number
  readonly lossesMw: number
  readonly machineMvar: readonly number[]
}

export type Extremes = {
  readonly maxDevHz: number
  readonly minMachineHz: number
  readonly secondsAbove0p05Hz: number
  readonly tEnd: number
}

type Expected = {
  readonly ieee39: Solution
  readonly ieee118: Solution
  readonly summary: Readonly<Record<string, Extremes>>
}

export const expected: Expected = JSON.parse(readFileSync(new URL('expected.json', folder), 'utf8'))

export type Trajectory = { readonly columns: readonly string[]; readonly rows: readonly (readonly number[])[] }

export function trajectory(name: string): Trajectory {
  const lines = readFileSync(new URL(`${name}.csv`, folder), 'utf8')
    .trim()
    .split('\n')
  const [head = '', ...rows] = lines
  return { columns: head.split(','), rows: rows.map((row) => row.split(',').map(Number)) }
}

/** The eight shedding feeders of the 39-bus disturbance, 42.5 MW each. */
export const SHED_BUSES = [3, 4, 8, 15, 20, 21, 24, 27]
