import type { CommandSpec, FileSpec, PointKind, PointSpec, StationConfig } from '../../rtu/index.ts'

/** Time shown in the directory for the demo's files: 1 January 2026. */
const CREATED_WALL_MS = Date.UTC(2026, 0, 1)
const RECORD_BYTES = 100_000

type Row = Omit<PointSpec, 'ca' | 'ioa' | 'kind' | 'name'>

/**
 * The demo database, described in docs/server.md: points of every kind, commands bound to them, files. With `isMoving` some
 * values are also sent cyclically and in a background scan; without, the station says nothing unasked.
 */
export function demoStation(cas: readonly number[], isMoving: boolean): StationConfig {
  return {
    points: cas.flatMap((ca) => demoPoints(ca, isMoving)),
    commands: cas.flatMap(demoCommands),
    files: cas.flatMap(demoFiles),
    ...(isMoving && { backgroundMs: 60_000 }),
  }
}

function demoPoints(ca: number, isMoving: boolean): PointSpec[] {
  const run = (kind: PointKind, firstIoa: number, values: readonly number[], label: string, row: Row): PointSpec[] =>
    values.map((value, i) => ({ ca, ioa: firstIoa + i, kind, name: `${label} ${i + 1}`, value, ...row }))
  const scanned = { background: isMoving }
  return [
    ...run('single', 1, [0, 1, 0, 1, 0, 0, 0, 0], 'switch', { group: 1, ...scanned }),
    ...run('double', 101, [2, 2, 1, 1], 'breaker', { group: 2, ...scanned }),
    ...run('step', 201, [0, -5], 'tap changer', { group: 3, ...scanned }),
    ...run('bitstring', 301, [0, 0xcafe_f00d], 'status word', { group: 4, ...scanned }),
    ...run('normalized', 401, [0.5, -0.25, 0, 0], 'load share', { group: 5, deadband: 0.01 }),
    ...run('scaled', 501, [231, 400, -10, 0], 'voltage', { group: 6, deadband: 1 }),
    ...run('float', 601, [50, 12.5, -3.25, 0, 0, 0, 0, 0], 'measurement', {
      group: 7,
      ...(isMoving && { cycleMs: 10_000 }),
    }),
    ...run('counter', 701, [1_000, 2_000], 'energy', { group: 1 }),
    ...run('counter', 703, [3_000, 4_000], 'energy of group 2', { group: 2 }),
    ...run('packed', 801, [0x0005], 'alarms', { group: 8 }),
    ...run('protectionEvent', 901, [1], 'protection', {}),
    ...run('protectionStart', 902, [0], 'protection start', {}),
    ...run('protectionTrip', 903, [0], 'protection trip', {}),
  ]
}

function demoCommands(ca: number): CommandSpec[] {
  /** The command at 2000 + n moves the point at n. */
  const moving = (kind: CommandSpec['kind'], n: number, row: Partial<CommandSpec> = {}): CommandSpec => ({
    ca,
    ioa: 2_000 + n,
    kind,
    pointIoa: n,
    ...row,
  })
  return [
    ...[1, 2, 3, 4].map((n) => moving('single', n)),
    moving('single', 5, { mode: 'select' }),
    moving('single', 6, { mode: 'direct' }),
    ...[101, 102].map((n) => moving('double', n)),
    moving('double', 103, { mode: 'select' }),
    moving('step', 201),
    moving('bitstring', 301),
    moving('normalized', 403),
    moving('scaled', 503, { min: -1_000, max: 1_000 }),
    moving('float', 604),
    moving('float', 605, { mode: 'select', min: 0, max: 100 }),
  ]
}

function demoFiles(ca: number): FileSpec[] {
  const octets = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0))
  const text = 'q104 demo station\nThis file was read by file transfer of IEC 60870-5-101, 7.4.11.\n'
  const record = Uint8Array.from({ length: RECORD_BYTES }, (_, i) => (i * 31 + (i >> 8)) & 0xff)
  const createdWallMs = CREATED_WALL_MS
  return [
    { ca, ioa: 5001, nof: 1, bytes: octets(text), createdWallMs },
    { ca, ioa: 5001, nof: 2, bytes: record, createdWallMs },
    { ca, ioa: 5002, nof: 3, bytes: octets('overwrite me\n'), writable: true, createdWallMs },
  ]
}
