import { readFile, stat } from 'node:fs/promises'
import { dirname, extname, resolve } from 'node:path'
import type { z } from 'zod'
import { type CommandSpec, checkStation, type FileSpec, type PointSpec, type StationConfig } from '../../rtu/index.ts'
import { CliError } from '../errors.ts'
import { commandsOf, fileOf, type Part, pointsOf, ROWS, StationSettings } from './point-rows.ts'
import { type LineProblem, type RawRow, readCsv, readYaml } from './point-source.ts'

type FileEntry = { readonly spec: FileSpec; readonly path?: string; readonly line: number }

/** A point file that was read and found right; the contents of its files are still to come. */
export type ParsedPoints = {
  readonly points: readonly PointSpec[]
  readonly commands: readonly CommandSpec[]
  readonly files: readonly FileEntry[]
  readonly settings: StationSettings
}

/** Reads a point file and the files it names. @throws CliError with every problem, one a line: `FILE:LINE: problem`. */
export async function loadPointFile(file: string, defaultCa: number): Promise<StationConfig> {
  const { files, settings, ...parsed } = parsePoints(await textOf(file), file, defaultCa)
  const read = files.map(async ({ spec, path, line }): Promise<FileSpec> => {
    if (path === undefined) return spec
    const from = resolve(dirname(file), path)
    try {
      const [bytes, { mtimeMs }] = await Promise.all([readFile(from), stat(from)])
      return { ...spec, bytes, createdWallMs: mtimeMs }
    } catch (error) {
      if (error instanceof Error && 'code' in error)
        throw new CliError(`${file}:${line}: ${path}: cannot be read (${error.code})`)
      throw error
    }
  })
  const config = { ...parsed, ...settings, files: await Promise.all(read) }
  const problems = checkStation(config).map(({ part, index, message }) => {
    return `${file}:${part === 'files' ? (files[index]?.line ?? 1) : 1}: ${message}`
  })
  if (problems.length > 0) throw new CliError(problems.join('\n'))
  return config
}

/** Checks the text of a point file, YAML or (by its name) CSV. @throws CliError as `loadPointFile`. */
export function parsePoints(text: string, file: string, defaultCa: number): ParsedPoints {
  const { rows, settings, settingLine, problems } = extname(file) === '.csv' ? readCsv(text) : readYaml(text)
  const found: LineProblem[] = [...problems]
  /** The row of each point and command, by its place in the list. */
  const origin: Record<Part, RawRow[]> = { points: [], commands: [], files: [] }
  const points: PointSpec[] = []
  const commands: CommandSpec[] = []
  const files: FileEntry[] = []
  for (const row of rows) {
    const note = (error: z.ZodError): void => void found.push(...rowProblems(row, error))
    if (row.part === 'points') {
      const { data, error } = ROWS.points.safeParse(row.value)
      if (data === undefined) note(error)
      else for (const point of pointsOf(data, defaultCa)) origin.points[points.push(point) - 1] = row
    } else if (row.part === 'commands') {
      const { data, error } = ROWS.commands.safeParse(row.value)
      if (data === undefined) note(error)
      else for (const command of commandsOf(data, defaultCa)) origin.commands[commands.push(command) - 1] = row
    } else {
      const { data, error } = ROWS.files.safeParse(row.value)
      if (data === undefined) note(error)
      else origin.files[files.push({ ...fileOf(data, defaultCa), line: row.lineOf() }) - 1] = row
    }
  }
  const { data: checked, error } = StationSettings.safeParse(settings)
  for (const issue of error?.issues ?? []) {
    const key = issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys[0] : issue.path[0]
    found.push({
      line: settingLine(key),
      message: `${issue.path.join('.')}${issue.path.length > 0 ? ': ' : ''}${issue.message}`,
    })
  }
  // What the rows mean together is looked at when each of them is right.
  if (found.length === 0) {
    for (const { part, index, message } of checkStation({ points, commands, files: files.map(({ spec }) => spec) })) {
      found.push({ line: origin[part][index]?.lineOf() ?? 1, message })
    }
  }
  if (found.length > 0 || checked === undefined) {
    const lines = found.toSorted((a, b) => a.line - b.line).map(({ line, message }) => `${file}:${line}: ${message}`)
    throw new CliError(`the point file is not valid\n${lines.join('\n')}`)
  }
  return { points, commands, files, settings: checked }
}

function rowProblems({ lineOf }: RawRow, error: z.ZodError): LineProblem[] {
  return error.issues.map((issue) => {
    const [field] = issue.code === 'unrecognized_keys' ? issue.keys : issue.path
    const where = issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''
    return { line: lineOf(field), message: `${where}${issue.message}` }
  })
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw new CliError(`${file}: cannot be read (${error.code})`)
    throw error
  }
}
