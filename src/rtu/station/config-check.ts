import type { CommandSpec, FileSpec, PointSpec, StationConfig } from './contract.ts'
import { MAX_FILE_BYTES } from './file-sections.ts'
import { kindRow } from './point-kinds.ts'

/** Something wrong with one entry of a station's configuration. */
export type StationProblem = {
  readonly part: 'points' | 'commands' | 'files'
  readonly index: number
  readonly message: string
}

const MAX_CA = 65_534
const MAX_IOA = 0xff_ffff
const MIN_CYCLE_MS = 10

/** Everything that is wrong with the points, commands and files of a station; none: it can be built. */
export function checkStation({
  points,
  commands = [],
  files = [],
}: Pick<StationConfig, 'points' | 'commands' | 'files'>): readonly StationProblem[] {
  const problems: StationProblem[] = []
  const note = (part: StationProblem['part'], index: number, messages: readonly string[]): void => {
    for (const message of messages) problems.push({ part, index, message })
  }
  const byAddress = new Map<string, PointSpec>()
  for (const [index, point] of points.entries()) {
    const address = `${point.ca}:${point.ioa}`
    note('points', index, [...pointProblems(point), ...doubled(byAddress.has(address), point)])
    byAddress.set(address, point)
  }
  const commandAddresses = new Set<string>()
  for (const [index, command] of commands.entries()) {
    const address = `${command.ca}:${command.ioa}`
    const point = byAddress.get(`${command.ca}:${command.pointIoa}`)
    note('commands', index, [...commandProblems(command, point), ...doubled(commandAddresses.has(address), command)])
    commandAddresses.add(address)
  }
  const fileAddresses = new Set<string>()
  for (const [index, file] of files.entries()) {
    const address = `${file.ca}:${file.ioa}:${file.nof}`
    note('files', index, [...fileProblems(file), ...doubled(fileAddresses.has(address), file)])
    fileAddresses.add(address)
  }
  return problems
}

function pointProblems(point: PointSpec): string[] {
  const { kind, group, value = 0, cycleMs, timeTag, deadband, smoothing } = point
  const row = kindRow(kind)
  const groups = kind === 'counter' ? 4 : 16
  const isMeasured = row.measured === true
  const onlyMeasured = (['deadband', 'smoothing', 'lowLimit', 'highLimit'] as const).filter(
    (field) => point[field] !== undefined && !isMeasured,
  )
  return [
    ...addressProblems(point),
    ...(value >= row.min && value <= row.max ? [] : [`value ${value} is not in ${row.min}..${row.max}`]),
    ...(group === undefined || isWhole(group, 1, groups) ? [] : [`group ${group} is not in 1..${groups}`]),
    ...(group !== undefined && row.plain === undefined ? [`${kind} cannot be interrogated, so it has no group`] : []),
    ...(cycleMs === undefined || cycleMs >= MIN_CYCLE_MS ? [] : [`cycleMs ${cycleMs} is below ${MIN_CYCLE_MS}`]),
    ...((cycleMs !== undefined || point.background) && row.plain === undefined
      ? [`${kind} cannot be sent cyclically`]
      : []),
    ...(timeTag === 'none' && row.plain === undefined ? [`${kind} is always sent with a time tag`] : []),
    ...onlyMeasured.map((field) => `${field} is for measured values, not for ${kind}`),
    ...(deadband === undefined || deadband >= 0 ? [] : [`deadband ${deadband} is below 0`]),
    ...(smoothing === undefined || (smoothing >= 0 && smoothing < 1) ? [] : [`smoothing ${smoothing} is not in 0..<1`]),
  ]
}

function commandProblems(command: CommandSpec, point: PointSpec | undefined): string[] {
  const { pointIoa, kind, mode, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = command
  const isBound = pointIoa !== undefined
  const times = (['selectTimeoutMs', 'shortPulseMs', 'longPulseMs'] as const).filter(
    (field) => (command[field] ?? 1) <= 0,
  )
  return [
    ...addressProblems(command),
    ...(isBound && point === undefined ? [`there is no point with IOA ${pointIoa}`] : []),
    ...(isBound && point !== undefined && point.kind !== kind
      ? [`a ${kind} command cannot show on a ${point.kind} point`]
      : []),
    ...(mode === 'select' && kind === 'bitstring' ? ['a bitstring command has no select'] : []),
    ...(min <= max ? [] : [`min ${min} is above max ${max}`]),
    ...times.map((field) => `${field} ${command[field]} is not above 0`),
  ]
}

function fileProblems(file: FileSpec): string[] {
  const { nof, bytes } = file
  return [
    ...addressProblems(file),
    ...(isWhole(nof, 1, 65_535) ? [] : [`nof ${nof} is not in 1..65535`]),
    ...(bytes !== undefined && bytes.length > MAX_FILE_BYTES
      ? [`${bytes.length} octets are more than ${MAX_FILE_BYTES}`]
      : []),
  ]
}

function addressProblems({ ca, ioa }: { readonly ca: number; readonly ioa: number }): string[] {
  return [
    ...(isWhole(ca, 1, MAX_CA) ? [] : [`CA ${ca} is not in 1..${MAX_CA}`]),
    ...(isWhole(ioa, 1, MAX_IOA) ? [] : [`IOA ${ioa} is not in 1..${MAX_IOA}`]),
  ]
}

function doubled(isDoubled: boolean, { ca, ioa }: { readonly ca: number; readonly ioa: number }): string[] {
  return isDoubled ? [`CA ${ca} IOA ${ioa} is there twice`] : []
}

function isWhole(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max
}
