/** A finished run as the page replays it, from its folder. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LabHead, type LabRecord, LabView, recordingOf } from '../../dashboard/index.ts'
import { parseScenario, planOf, type Scenario, ScenarioError } from '../../experiment/index.ts'
import { parseRecords } from '../../runtime/index.ts'
import { CliError } from '../errors.ts'
import type { LabSource } from './api-server.ts'
import { headOf } from './head-of.ts'

export type FinishedRun = {
  readonly head: LabHead
  readonly records: readonly LabRecord[]
  /** Records of the end for which there is no room. */
  readonly left: number
}

/** Reads the folder of a run. @throws CliError naming the file that is missing or wrong. */
export function readRun(folder: string): FinishedRun {
  const scenario = scenarioOf(folder)
  const metrics = parsedJson(read(folder, 'metrics.json'), join(folder, 'metrics.json'))
  const text = (fact: string): string => String(metrics[fact] ?? '-')
  const seed = Number(metrics['seed'] ?? scenario.seed)
  const context = {
    lab: scenario.name,
    version: text('version'),
    isolation: text('isolation'),
    impairment: text('impairment'),
  }
  const events = parseRecords(read(folder, 'events.jsonl')) as readonly LabRecord[]
  return finishedRun({ ...scenario, seed }, context, events)
}

/** A run that has just ended. */
export function finishedRun(
  scenario: Scenario,
  context: Pick<LabHead, 'lab' | 'version' | 'isolation' | 'impairment'>,
  events: readonly LabRecord[],
): FinishedRun {
  return { head: headOf(scenario, planOf(scenario), { ...context, mode: 'replay' }), ...recordingOf(events) }
}

/** What the server shows of it: the state at its end, and the recording. */
export function sourceOfRun({ head, records }: FinishedRun): LabSource {
  const view = new LabView(head)
  for (const record of records) {
    view.take(record)
    view.tick(record.tMs)
  }
  view.setPhase('ended')
  const recording = JSON.stringify(records)
  return {
    head: () => head,
    state: () => view.state(),
    history: () => view.history.columns(),
    recording: () => recording,
  }
}

function scenarioOf(folder: string): Scenario {
  const file = join(folder, 'scenario.yaml')
  try {
    return parseScenario(read(folder, 'scenario.yaml'), file)
  } catch (error) {
    if (error instanceof ScenarioError) throw new CliError(error.message)
    throw error
  }
}

function parsedJson(text: string, file: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text))
  } catch (error) {
    if (error instanceof SyntaxError) throw new CliError(`${file}: is no JSON: ${error.message}`)
    throw error
  }
}

function read(folder: string, name: string): string {
  try {
    return readFileSync(join(folder, name), 'utf8')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error
    throw new CliError(`${join(folder, name)}: cannot be read (${error.code}); expected the folder of a finished run`)
  }
}
