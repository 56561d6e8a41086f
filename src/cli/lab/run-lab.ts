import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { stringify } from 'yaml'
import {
  acquireLab,
  Capture,
  type CaptureSummary,
  checkLinks,
  type Detected,
  hasNetem,
  isProcessDir,
  LabNetwork,
  labTempDir,
  type LabPlan as NetPlan,
  planLab,
  startJanitor,
} from '../../../netns/index.ts'
import {
  initialBits,
  isPoolChannel,
  KME_ID,
  type LabPlan,
  type LabRecord,
  type Metrics,
  metricsOf,
  planOf,
  reportTables,
  reportText,
  type Scenario,
} from '../../experiment/index.ts'
import { writeLabCa } from '../../keypool/index.ts'
import type { LinkState } from '../../runtime/contract.ts'
import type { PcapngSection } from '../../runtime/index.ts'
import { KeyLogFile, keyLogWarning } from '../../runtime/node-files.ts'
import { finishedRun } from '../api/finished-run.ts'
import { reportPage } from '../api/report-page.ts'
import { type PagePlace, RunPage } from '../api/run-page.ts'
import { serveControl } from '../netlab/control.ts'
import { checkJson, checkLine } from '../netlab/link-report.ts'
import { findTool } from '../tools.ts'
import { version } from '../version.ts'
import type { ToProcess } from './ipc.ts'
import { type LabOutcome, LabRun, type Launch } from './lab-run.ts'
import { type LaunchContext, launchesOf, Q3P_PORT, relaunchOf, SERVICES } from './launches.ts'
import { type Impairment, LawKeeper } from './law-keeper.ts'
import { observerOf } from './observe-lab.ts'
import type { Watchers } from './observer.ts'
import { type OutsideWays, openOutside } from './outside.ts'
import { RunFolder } from './run-folder.ts'
import type { Terminal } from './terminal.ts'

export type RunRequest = {
  readonly scenario: Scenario
  readonly plan: LabPlan
  readonly lab: string
  readonly detected: Detected
  readonly out: string
  readonly terminal: Terminal
  /** Metrics on stdout instead of the report. */
  readonly json: boolean
  /** Start nodes and key server again when they end unasked. */
  readonly restart: boolean
  /** Where the web page is served; undefined: nowhere. */
  readonly page: PagePlace | undefined
  readonly watchers: Watchers
  /** Ways between the lab and the machine around it that are open already; default: they are opened here. */
  readonly outside?: OutsideWays
}

/** What can go on in the middle of a run: the grid cannot, its state is gone. */
const RESTARTABLE = ['keyserver', 'master', 'gateway', 'rtu', 'ied']
const EXIT = { valid: 0, invalid: 1, interrupted: 130 }
/** A run in which a node's timer came later than this is not valid: its times are the machine's, not the lab's. */
const MAX_LAG_MS = 500

/** Runs one lab from empty to empty: network, processes, capture, report. Gives the exit code. */
export async function runLab(request: RunRequest): Promise<number> {
  const { plan, lab, detected, terminal } = request
  const { isolation } = detected
  const byKernel = isolation !== 'loopback' && (await hasNetem())
  const impairment: Impairment = byKernel ? 'netem' : 'transport'
  const whyImpairment = byKernel
    ? 'kernel netem'
    : `in the nodes' transport: ${isolation === 'loopback' ? 'loopback' : 'the kernel has no sch_netem'}`
  terminal.say(
    `q104 ${version()}: lab ${lab}, isolation ${isolation} (${detected.why}); links impaired ${whyImpairment}`,
  )

  // Every process of the lab inherits it: `ps e` then tells whose it is.
  process.env['Q104_LAB'] = lab
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt)
  const lock = await acquireLab(lab)
  const net = netPlanOf(plan, lab, detected)
  const tempDir = labTempDir(lab)
  try {
    mkdirSync(tempDir, { mode: 0o700 })
    const outsideDir = request.outside?.dir
    const isOurs = outsideDir !== undefined && isProcessDir(outsideDir)
    const janitor = await startJanitor(net, lock, isOurs ? [tempDir, outsideDir] : [tempDir])
    try {
      return await withNetwork({ ...request, tempDir }, net, impairment, interrupted.signal)
    } finally {
      await janitor.dismiss()
    }
  } finally {
    lock.release()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt)
  }
}

function netPlanOf({ nodes, links }: LabPlan, lab: string, { isolation }: Detected): NetPlan {
  const services = SERVICES.map((id, index) => ({ id, number: nodes.length + index + 1 }))
  return planLab({ lab, nodes: [...nodes.map(({ id, number }) => ({ id, number })), ...services], links }, isolation)
}

/** `tempDir` goes with the lab, whoever clears it. */
type LabRequest = RunRequest & { readonly tempDir: string }

async function withNetwork(
  request: LabRequest,
  net: NetPlan,
  impairment: Impairment,
  interrupted: AbortSignal,
): Promise<number> {
  const { scenario, plan } = request
  const folder = new RunFolder(request.out)
  folder.write('scenario.yaml', stringify(scenario))
  /** The ways to the processes; there are none before they are started. */
  const ways: LabWays = { tell: () => {}, setLink: () => {} }
  const page = await RunPage.open({
    lab: {
      scenario,
      plan,
      context: { lab: net.lab, version: version(), isolation: net.isolation, impairment },
      eventsFile: (id) => folder.eventsFile(id),
      tell: (id, message) => ways.tell(id, message),
      setLink: (state) => ways.setLink(state),
    },
    listen: request.page,
    tokenFile: folder.file('api-token'),
  })
  if (page.url !== undefined) request.terminal.say(`page: ${page.url}`)
  try {
    return await withProcesses(request, { net, impairment, interrupted, folder, page, ways })
  } finally {
    await page.close()
  }
}

type LabWays = {
  tell: (id: string, message: ToProcess) => void
  setLink: (state: LinkState) => void
}

type LabParts = {
  readonly net: NetPlan
  readonly impairment: Impairment
  readonly interrupted: AbortSignal
  readonly folder: RunFolder
  readonly page: RunPage
  readonly ways: LabWays
}

async function withProcesses(request: LabRequest, parts: LabParts): Promise<number> {
  const { scenario, plan, terminal, tempDir } = request
  const { net, impairment, interrupted, folder, page, ways } = parts
  if (plan.outputs.keylog) {
    terminal.warn(keyLogWarning('keys.log'))
    new KeyLogFile(folder.file('keys.log')).close()
  }
  const certificateDir = join(tempDir, 'certificates')
  const ids = [...plan.nodes.map(({ id }) => id), 'keyserver', 'grid']
  const opened = request.outside === undefined ? await openOutside(plan, tempDir) : undefined
  const outside = request.outside ?? opened?.ways ?? { dir: tempDir, tunnels: {} }
  const network = await LabNetwork.up(net)
  try {
    await writeLabCa(certificateDir, ids, Date.now())
    await welcomeOutside(request, folder, outside)
    const laws = new Map(plan.links.map(({ link, law }) => [link, law]))
    const check = await checkLinks(network, laws, impairment, { seed: plan.seed, signal: interrupted }).catch(
      (error) => {
        if (interrupted.aborted) return undefined
        throw error
      },
    )
    if (check !== undefined) {
      folder.write('links.json', checkJson(check))
      terminal.say(checkLine(check))
    }
    for (const problem of check?.problems ?? []) terminal.warn(problem)
    const captureState = plan.outputs.capture ? await Capture.available(net.isolation) : undefined
    const recordWires = captureState?.available === false
    if (captureState?.available === false) terminal.say(`capture by the nodes themselves: ${captureState.why}`)
    const redisServer = findTool('redis-server')
    if (redisServer === undefined) terminal.say('no redis-server: the state of the key pool is not published on Redis')
    const section = captureSection(request, impairment)
    const capture = captureState?.available
      ? await Capture.start(net, { port: Q3P_PORT, path: folder.file('capture.pcapng'), section })
      : undefined
    let outcome: LabOutcome
    let captureProblems: readonly string[] = []
    try {
      const context: LaunchContext = {
        scenario,
        plan,
        net,
        network,
        folder,
        certificateDir,
        tempDir,
        impairInTransport: impairment === 'transport',
        recordWires,
        redisServer,
        runId: `${net.lab}-${Date.now()}`,
        keyLogFile: plan.outputs.keylog ? resolve(folder.file('keys.log')) : undefined,
        outside,
        saeDir: folder.file('sae'),
      }
      const launches = launchesOf(context)
      terminal.say(`starting ${launches.length} processes`)
      const tell: ConstructorParameters<typeof LawKeeper>[1] = (id, link, law) =>
        run.tell(id, { kind: 'law', link, law })
      const keeper = new LawKeeper(plan.links, tell, impairment === 'netem' ? network : undefined)
      const run = new LabRun({
        launches,
        durationS: plan.durationS,
        interrupted,
        onProgress: (progress) => terminal.progress(progress, plan.durationS),
        onWaiting: (waiting) => terminal.say(`still starting: ${waiting.join('; ')}`),
        ...page.hooks(),
        onLinkState: (state) => {
          keeper.take(state)
          page.takeLinkState(state)
        },
        ...(request.restart && {
          restart: (id: string) => {
            if (!RESTARTABLE.includes(roleOf(launches, id))) return undefined
            terminal.say(`process ${id} ended and is started again`)
            return relaunchOf(context, planOf(scenario, { epoch: Date.now() }), id)
          },
          onRestarted: (id: string) => {
            keeper.repeat(id)
            page.takeRestart(id)
          },
        }),
        onReady: (pids, startupS) => {
          terminal.say(`${pids.size} processes up in ${startupS.toFixed(1)} s`)
          observer.begin()
        },
      })
      ways.tell = (id, message) => run.tell(id, message)
      ways.setLink = (state) => keeper.take(state)
      const control = await serveControl(net.lab, async (request) => {
        if (request.kind === 'bend') keeper.bend(request.link, request.words)
        return { kind: 'links', appliedBy: impairment, links: keeper.links() }
      })
      const observer = await observerOf({ ...request, net, folder, launches, run })
      try {
        outcome = await run.run()
      } finally {
        control.close()
        await observer.close()
      }
    } finally {
      await page.close()
      captureProblems = problemsOfCapture(await capture?.stop())
    }
    if (recordWires) {
      const nameOf = (link: number): string => net.links.find((entry) => entry.link === link)?.name ?? `link ${link}`
      folder.mergeWires(nameOf, section)
    }
    const problems = [...captureProblems, ...(check?.problems ?? [])]
    return report(request, { folder, outcome, impairment, problems })
  } finally {
    opened?.close()
    await network.down()
  }
}

/** Makes the certificates of programs outside, under an authority of their own, and says where they call. */
async function welcomeOutside({ plan, terminal }: LabRequest, folder: RunFolder, ways: OutsideWays): Promise<void> {
  const { serve014 } = plan.keyserver
  if (serve014 === undefined || ways.serve014 === undefined) return
  const saes = [...new Set(serve014.pairs.flatMap((pair) => pair.saes))]
  await writeLabCa(folder.file('sae'), [KME_ID, ...saes], Date.now())
  const { host, port } = ways.serve014
  const url = `https://${host}:${port}`
  terminal.say(`ETSI GS QKD 014 for ${saes.join(', ')}: ${url}; certificates in ${folder.file('sae')}/`)
}

/** What a capture says of itself. */
function captureSection({ plan, lab }: RunRequest, impairment: Impairment): PcapngSection {
  const keys = plan.outputs.keylog ? 'key log: keys.log beside this file' : 'no key log was kept'
  const comment = `lab ${lab}: scenario ${plan.name}, seed ${plan.seed}, links impaired by ${impairment}; ${keys}`
  return { userAppl: `q104 ${version()}`, comment }
}

type Ended = {
  readonly folder: RunFolder
  readonly outcome: LabOutcome
  readonly impairment: Impairment
  readonly problems: readonly string[]
}

function problemsOfCapture(summary: CaptureSummary | undefined): readonly string[] {
  if (summary === undefined) return []
  const { missedFrames, failures } = summary
  return [...(missedFrames > 0 ? [`the capture missed ${missedFrames} frames`] : []), ...failures]
}

function report(request: RunRequest, { folder, outcome, impairment, problems }: Ended): number {
  const { plan, terminal, detected } = request
  const events = folder.mergeEvents()
  const metrics = metricsOf(events, {
    seed: plan.seed,
    version: version(),
    impairment,
    isolation: detected.isolation,
    isPoolChannel: isPoolChannel(plan),
    initialBits: initialBits(plan),
    durationS: plan.durationS,
    warmupS: plan.warmupS,
    nodes: plan.nodes.map(({ id }) => id),
    problems: [...problemsOf(outcome), ...problems],
  })
  const head = { name: plan.name, durationS: plan.durationS }
  folder.write('metrics.json', `${JSON.stringify(metrics, null, 2)}\n`)
  folder.write('report.html', pageOfRun(request, events, metrics))
  folder.write('report.txt', reportText(metrics, head))
  folder.removeParts()
  if (request.json) process.stdout.write(`${JSON.stringify(metrics, null, 2)}\n`)
  else process.stdout.write(`\n${reportText(metrics, head)}\n${processLines(outcome)}\nfiles: ${folder.path}/\n`)
  for (const { id, how, lastLines } of outcome.failures) {
    terminal.warn(`process ${id} ${how}`)
    for (const line of lastLines) terminal.warn(`  ${id}: ${line}`)
  }
  if (outcome.interrupted) return EXIT.interrupted
  return exitCode(metrics)
}

/** The web page with the run in it, and the report's tables below. */
function pageOfRun({ scenario, lab, plan }: RunRequest, events: readonly LabRecord[], metrics: Metrics): string {
  const { version: ofProgram, isolation, impairment } = metrics
  const tables = reportTables(metrics, { name: plan.name, durationS: plan.durationS })
  const run = finishedRun(scenario, { lab, version: ofProgram, isolation, impairment }, events)
  return reportPage(run, `<section class="panel p-report">${tables}</section>`)
}

function exitCode({ valid }: Metrics): number {
  return valid ? EXIT.valid : EXIT.invalid
}

function roleOf(launches: readonly Launch[], id: string): string {
  return launches.find((launch) => launch.id === id)?.spec?.role ?? ''
}

function problemsOf({ failures, restarts, interrupted, notDrained, lagOf }: LabOutcome): readonly string[] {
  const late = [...lagOf].filter(([, { maxMs }]) => maxMs > MAX_LAG_MS)
  return [
    ...failures.map(({ id, how }) => `process ${id} ${how}`),
    ...restarts.map(({ id, how }) => `process ${id} ${how} and was started again`),
    ...(interrupted ? ['interrupted'] : []),
    ...(failures.length === 0 && !interrupted && notDrained.length > 0
      ? [`not drained in time: ${notDrained.join(', ')}`]
      : []),
    ...late.map(([id, { maxMs }]) => `timers of ${id} came up to ${maxMs.toFixed(0)} ms late (limit ${MAX_LAG_MS})`),
  ]
}

function processLines({ processes, startupS, largestMb, lagOf }: LabOutcome): string {
  const lags = [...lagOf].sort(([, a], [, b]) => b.maxMs - a.maxMs)
  const [latest, lag] = lags[0] ?? ['', { maxMs: 0 }]
  return [
    `processes: ${processes} up in ${startupS.toFixed(1)} s, largest ${largestMb.mb.toFixed(0)} MB (${largestMb.id}),`,
    `latest timer ${lag.maxMs.toFixed(0)} ms late (${latest})`,
  ].join(' ')
}
