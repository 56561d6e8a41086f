/** Rows of a point file: what may stand in one, and what it means for the station. */
import { z } from 'zod'
import { type CommandSpec, type FileSpec, POINT_KINDS, type PointKind, type PointSpec } from '../../rtu/index.ts'

const MAX_COUNT = 1_000_000
const QUALITY_FLAGS = ['overflow', 'blocked', 'substituted', 'notTopical', 'invalid'] as const

const ca = z.int().min(1).max(65_534).exactOptional().describe('common address (default: --ca)')
const ioa = z.int().min(1).max(0xff_ffff).describe('information object address')
const name = z.string().max(200).exactOptional()
const kinds = Object.keys(POINT_KINDS) as PointKind[]
const commandKinds = ['single', 'double', 'step', 'normalized', 'scaled', 'float', 'bitstring'] as const

const PointRow = z.strictObject({
  ca,
  ioa,
  count: z.int().min(1).max(MAX_COUNT).exactOptional().describe('that many points, addresses counting up from ioa'),
  kind: z.enum(kinds),
  name,
  value: z.number().exactOptional(),
  quality: z.array(z.enum(QUALITY_FLAGS)).exactOptional(),
  group: z.int().exactOptional(),
  events: z.boolean().exactOptional(),
  timeTag: z.enum(['none', 'cp24', 'cp56']).exactOptional(),
  cycleMs: z.number().exactOptional(),
  background: z.boolean().exactOptional(),
  deadband: z.number().exactOptional(),
  smoothing: z.number().exactOptional(),
  lowLimit: z.number().exactOptional(),
  highLimit: z.number().exactOptional(),
})

const CommandRow = z.strictObject({
  ca,
  ioa,
  count: z.int().min(1).max(MAX_COUNT).exactOptional(),
  kind: z.enum(commandKinds),
  name,
  mode: z.enum(['direct', 'select', 'either']).exactOptional(),
  pointIoa: z.int().exactOptional(),
  min: z.number().exactOptional(),
  max: z.number().exactOptional(),
  selectTimeoutMs: z.number().exactOptional(),
  shortPulseMs: z.number().exactOptional(),
  longPulseMs: z.number().exactOptional(),
  termination: z.boolean().exactOptional(),
})

const FileRow = z.strictObject({
  ca,
  ioa,
  nof: z.int().min(1).max(65_535),
  path: z.string().exactOptional().describe('contents, relative to the point file'),
  writable: z.boolean().exactOptional(),
})

/** Settings of the station that a YAML point file may have beside its points. */
export const StationSettings = z.strictObject({
  redundancy: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('one') }),
      z.strictObject({
        kind: z.literal('several'),
        groups: z
          .array(z.strictObject({ name: z.string(), peers: z.array(z.string()).exactOptional() }))
          .min(1)
          .max(64),
      }),
      z.strictObject({ kind: z.literal('perConnection'), maxGroups: z.int().min(1).max(1_000).exactOptional() }),
    ])
    .exactOptional(),
  maxConnections: z.int().min(1).max(1_000).exactOptional(),
  maxEvents: z.int().min(1).max(10_000_000).exactOptional(),
  maxEventsPerAsdu: z.int().min(1).max(127).exactOptional(),
  backgroundMs: z.number().min(100).exactOptional(),
  cycleMs: z.number().min(10).exactOptional(),
  selectTimeoutMs: z.number().positive().exactOptional(),
  executeTimeoutMs: z.number().positive().exactOptional(),
  shortPulseMs: z.number().positive().exactOptional(),
  longPulseMs: z.number().positive().exactOptional(),
  maxCommandAgeMs: z.number().positive().exactOptional(),
  reportFrozen: z.boolean().exactOptional(),
  freezeMs: z.number().min(100).exactOptional(),
  announceStart: z.boolean().exactOptional(),
  needsClockSync: z.boolean().exactOptional(),
  maxFileBytes: z.int().min(1).max(0xff_ffff).exactOptional(),
})
export type StationSettings = z.infer<typeof StationSettings>

export const ROWS = { points: PointRow, commands: CommandRow, files: FileRow } as const
export type Part = keyof typeof ROWS

/** Columns that a CSV point file may have, with how their cells are read. */
export const COLUMNS: ReadonlyMap<string, 'number' | 'boolean' | 'text' | 'flags'> = new Map(
  Object.values(ROWS)
    .flatMap(({ shape }) => Object.entries(shape))
    .map(([column, schema]) => [column, cellKind(schema)]),
)

function cellKind(schema: z.ZodType): 'number' | 'boolean' | 'text' | 'flags' {
  if (schema.safeParse(1).success) return 'number'
  if (schema.safeParse(true).success) return 'boolean'
  return schema.safeParse([]).success ? 'flags' : 'text'
}

/** The points that a row stands for. */
export function pointsOf({ count = 1, quality, ...row }: z.infer<typeof PointRow>, defaultCa: number): PointSpec[] {
  const flags = quality && { quality: Object.fromEntries(quality.map((flag) => [flag, true])) }
  return Array.from({ length: count }, (_, i) => ({ ...row, ...flags, ...place(row, i, count, defaultCa) }))
}

/** The commands that a row stands for; the points that show them count up too. */
export function commandsOf({ count = 1, ...row }: z.infer<typeof CommandRow>, defaultCa: number): CommandSpec[] {
  return Array.from({ length: count }, (_, i) => ({
    ...row,
    ...place(row, i, count, defaultCa),
    ...(row.pointIoa !== undefined && { pointIoa: row.pointIoa + i }),
  }))
}

/** A file as the row has it; its contents are not read here. */
export function fileOf(
  { path, ...row }: z.infer<typeof FileRow>,
  defaultCa: number,
): { spec: FileSpec; path?: string } {
  return { spec: { ca: defaultCa, ...row }, ...(path !== undefined && { path }) }
}

function place(
  row: { readonly ca?: number; readonly ioa: number; readonly name?: string },
  i: number,
  count: number,
  defaultCa: number,
): { ca: number; ioa: number; name?: string } {
  const name = row.name !== undefined && count > 1 ? `${row.name} ${i + 1}` : row.name
  return { ca: row.ca ?? defaultCa, ioa: row.ioa + i, ...(name !== undefined && { name }) }
}
