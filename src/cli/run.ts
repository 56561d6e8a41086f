import { rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import {
  detectIsolation,
  IsolationError,
  insideUserns,
  LabBusyError,
  makeProcessDir,
  PlanError,
  reexecInUserns,
  StateDirError,
} from '../../netns/index.ts'
import { type LabPlan, planOf } from '../experiment/index.ts'
import { AlertSetupError, InfluxAddressError, influxTarget, receiversOf } from '../observe/index.ts'
import { listenForPage, PAGE_PORT, type PagePlace } from './api/run-page.ts'
import { CliError } from './errors.ts'
import type { MetricsPlace } from './lab/metrics-server.ts'
import type { Watchers } from './lab/observer.ts'
import { needsOutside, type Outside, type OutsideWays, openOutside } from './lab/outside.ts'
import { runLab } from './lab/run-lab.ts'
import { Terminal } from './lab/terminal.ts'
import type { Command } from './main.ts'
import {
  onePositional,
  parseChoice,
  parseCount,
  parseDurationS,
  parseListen,
  parseOptions,
  parsePort,
} from './options.ts'
import { loadScenario } from './scenario-file.ts'

const OPTIONS = {
  duration: { type: 'string' },
  seed: { type: 'string' },
  lab: { type: 'string' },
  isolation: { type: 'string' },
  out: { type: 'string' },
  keylog: { type: 'boolean', default: false },
  restart: { type: 'boolean', default: false },
  'no-page': { type: 'boolean', default: false },
  port: { type: 'string' },
  metrics: { type: 'string', default: '127.0.0.1:0' },
  influx: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const

/** Variables with the numbers of listening sockets that this process was given, and where those begin. */
const PAGE_SOCKET = 'Q104_PAGE_SOCKET'
const METRICS_SOCKET = 'Q104_METRICS_SOCKET'
/** Variable with the ways between the lab and the machine around it, as JSON. */
const OUTSIDE_WAYS = 'Q104_OUTSIDE_WAYS'
const FIRST_INHERITED_FD = 3

/** What the lab's network refuses because of what was asked for. */
const BAD_INPUT = [IsolationError, LabBusyError, PlanError, StateDirError]
const ISOLATIONS = ['netns', 'userns', 'loopback'] as const

export const command: Command = {
  summary: 'run a scenario live, each node a process on real sockets',
  help: `
usage: q104 run SCENARIO [options]

Builds the scenario's network, starts every node as a process in a network namespace of its own, runs it in real time,
reports, and takes everything down again.

  --duration 30s     how long the run lasts (default: the scenario's durationS)
  --seed N           seed of links and tasks (default: the scenario's)
  --lab NAME         name of the lab, for namespaces and locks (default: the scenario's name)
  --isolation KIND   netns (root), userns (no root) or loopback; default: the strongest that works here
  --keylog           write keys.log, every key of the run in the clear, for Wireshark and q104 decode
  --restart          start nodes and key server again when they die, instead of ending the run
  --out DIR          where the run's files go (default: runs/NAME-SEED)
  --port N           port of the web page on 127.0.0.1 (default 8104, or any free one if that is taken)
  --no-page          serve no web page
  --metrics ADDRESS  HOST:PORT, where Prometheus reads the metrics of all processes (default: a free port of 127.0.0.1;
                     off: nowhere); the run's folder gets a prometheus.yml for it
  --influx URL       also write them to InfluxDB: http://HOST:8086/?db=NAME or http://HOST:8086/?org=ORG&bucket=BUCKET;
                     Q104_INFLUX_TOKEN in the environment holds the token (or user:password)
  --json             print metrics.json on stdout instead of the report

Alerts go to Slack and e-mail if Q104_SLACK_WEBHOOK_URL, or Q104_SMTP_URL and Q104_ALERT_TO, are in the environment.

Exit code: 0 the run is valid, 1 it is not (the report says why), 2 bad input, 130 interrupted.

Example: ./q104 run scenarios/ieee39.yaml --duration 30s --seed 7`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const file = onePositional(positionals, 'SCENARIO')
    const read = await loadScenario(file)
    const scenario = {
      ...read,
      durationS: values.duration === undefined ? read.durationS : parseDurationS(values.duration, '--duration'),
      seed: values.seed === undefined ? read.seed : parseCount(values.seed, '--seed'),
      outputs: { ...read.outputs, keylog: read.outputs.keylog || values.keylog },
    }
    const asked = values.isolation === undefined ? undefined : parseChoice(values.isolation, ISOLATIONS, '--isolation')
    const lab = values.lab ?? labNameOf(scenario.name)
    const watchers = watchersOf(values.metrics, values.influx)
    const plan = planOf(scenario, { epoch: Date.now() })
    const page = values['no-page'] ? undefined : placeOf(values.port)
    try {
      const detected = await detectIsolation(asked)
      if (detected.isolation === 'userns' && !insideUserns()) {
        return await runInUserns(page, watchers.metrics, plan)
      }
      const outside = waysFromOutside()
      const terminal = new Terminal(values.json ? process.stderr : process.stdout, values.json)
      const out = values.out ?? join('runs', `${scenario.name}-${scenario.seed}`)
      return await runLab({
        scenario,
        plan,
        lab,
        detected,
        out,
        terminal,
        json: values.json,
        restart: values.restart,
        page,
        watchers,
        ...(outside && { outside }),
      })
    } catch (error) {
      if (BAD_INPUT.some((kind) => error instanceof kind))
        throw new CliError(String(error instanceof Error && error.message))
      throw error
    }
  },
}

/**
 * Runs this command again inside a user namespace, whose network is its own: sockets for people, and the ways to key managers,
 * are made out here.
 */
async function runInUserns(
  page: PagePlace | undefined,
  metrics: MetricsPlace | undefined,
  plan: LabPlan,
): Promise<number> {
  const outer: (readonly [variable: string, socket: Server])[] = []
  if (page?.kind === 'port') outer.push([PAGE_SOCKET, await listenForPage(page)])
  if (metrics !== undefined && 'host' in metrics) outer.push([METRICS_SOCKET, await listenOn(metrics)])
  const fds = Object.fromEntries(outer.map(([variable], index) => [variable, String(FIRST_INHERITED_FD + index)]))
  const dir = needsOutside(plan) ? makeProcessDir() : undefined
  let outside: Outside | undefined
  try {
    outside = dir === undefined ? undefined : await openOutside(plan, dir)
    const env = { ...fds, ...(outside && { [OUTSIDE_WAYS]: JSON.stringify(outside.ways) }) }
    const sockets = outer.map(([, socket]) => descriptorOf(socket))
    const ended = reexecInUserns(process.argv.slice(1), { env, sockets })
    // The inner process has descriptors of its own; if we listened on, we would take callers away from it.
    for (const [, socket] of outer) socket.close()
    return await ended
  } finally {
    outside?.close()
    if (dir !== undefined) rmSync(dir, { recursive: true, force: true })
  }
}

/** In a user namespace, the ways that were made outside of it. */
function waysFromOutside(): OutsideWays | undefined {
  const text = insideUserns() ? process.env[OUTSIDE_WAYS] : undefined
  return text === undefined ? undefined : (JSON.parse(text) as OutsideWays)
}

function listenOn(place: { readonly host: string; readonly port: number }): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => reject(new CliError(`--metrics: ${place.host}:${place.port}: ${error.message}`)))
    server.listen(place, () => resolve(server))
  })
}

/** The file descriptor of a socket: Node has it on its handle, and no other way to it. */
function descriptorOf(socket: Server): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } }
  return handle.fd
}

/** Where the page is served; in a user namespace, on the socket that was made outside. */
function placeOf(port: string | undefined): PagePlace {
  const fd = process.env[PAGE_SOCKET]
  if (insideUserns() && fd !== undefined) return { kind: 'socket', fd: Number(fd) }
  if (port === undefined) return { kind: 'port', port: PAGE_PORT, asked: false }
  return { kind: 'port', port: parsePort(port, '--port'), asked: true }
}

/** Where the metrics are served; in a user namespace, on the socket that was made outside. */
function metricsPlaceOf(text: string): MetricsPlace {
  const fd = process.env[METRICS_SOCKET]
  if (insideUserns() && fd !== undefined) return { fd: Number(fd) }
  return parseListen(text, '--metrics')
}

/** @throws CliError naming the option or variable, what was found and what was expected */
function watchersOf(metrics: string, influx: string | undefined): Watchers {
  try {
    const token = process.env['Q104_INFLUX_TOKEN']
    return {
      metrics: metrics === 'off' ? undefined : metricsPlaceOf(metrics),
      influx: influx === undefined ? undefined : influxTarget(influx, token),
      alerts: receiversOf(process.env),
    }
  } catch (error) {
    if (error instanceof InfluxAddressError) throw new CliError(`--influx: ${error.message}`)
    if (error instanceof AlertSetupError) throw new CliError(error.message)
    throw error
  }
}

/** A scenario's name as a lab name: lower case, at most 20 characters. */
function labNameOf(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 20)
}
