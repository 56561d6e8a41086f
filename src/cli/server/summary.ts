import type { StationConfig } from '../../rtu/index.ts'

type Row = { readonly ca: number; readonly ioa: number; readonly kind: string }

/** What the server serves, for people: a few lines. */
export function describeStation(
  { points, commands = [], files = [] }: StationConfig,
  where: { readonly address: string; readonly transport: string; readonly from: string },
): readonly string[] {
  const cas = [...new Set([...points, ...commands, ...files].map(({ ca }) => ca))]
  return [
    `q104 server: IEC 60870-5-104 controlled station on ${where.address} (${where.transport}), ${where.from}`,
    ...cas.flatMap((ca) => [
      `CA ${ca}`,
      ...kinds('points', points, ca),
      ...kinds('commands', commands, ca),
      ...kinds(
        'files',
        files.map((file) => ({ ...file, kind: `file ${file.nof}` })),
        ca,
      ),
    ]),
    "'set CA IOA VALUE' changes a value, 'status' tells of connections, 'quit' or Ctrl-C ends.",
  ]
}

function kinds(label: string, rows: readonly Row[], ca: number): readonly string[] {
  const byKind = new Map<string, number[]>()
  for (const row of rows) if (row.ca === ca) byKind.set(row.kind, [...(byKind.get(row.kind) ?? []), row.ioa])
  return [...byKind].map(([kind, ioas]) => `  ${label.padEnd(9)} ${kind.padEnd(16)} IOA ${ranges(ioas)}`)
}

/** `1..8, 101, 103..104`. */
function ranges(ioas: readonly number[]): string {
  const sorted = ioas.toSorted((a, b) => a - b)
  const runs: [number, number][] = []
  for (const ioa of sorted) {
    const last = runs.at(-1)
    if (last !== undefined && ioa === last[1] + 1) last[1] = ioa
    else runs.push([ioa, ioa])
  }
  const shown = runs.slice(0, 12).map(([from, to]) => (from === to ? `${from}` : `${from}..${to}`))
  return runs.length > shown.length ? `${shown.join(', ')}, ...` : shown.join(', ')
}
