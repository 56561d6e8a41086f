import { readFileSync } from 'node:fs'
import type { LabPlan as NetPlan } from '../../../netns/index.ts'
import type { LabPlan, Scenario } from '../../experiment/index.ts'
import { type AlertLimits, prometheusConfig } from '../../observe/index.ts'
import type { LabRun, Launch } from './lab-run.ts'
import { Observer, type Watchers } from './observer.ts'
import type { RunFolder } from './run-folder.ts'
import type { Terminal } from './terminal.ts'

export type ObserveRequest = {
  readonly scenario: Scenario
  readonly plan: LabPlan
  readonly net: NetPlan
  readonly folder: RunFolder
  readonly launches: readonly Launch[]
  readonly run: LabRun
  readonly terminal: Terminal
  readonly watchers: Watchers
}

function limitsOf({ alerts }: Scenario): AlertLimits {
  const { frequencyHz, missRatio, minMisses, missWindowS, raiseAfterS, clearAfterS } = alerts
  return {
    frequencyHz,
    missRatio,
    minMisses,
    missWindowMs: missWindowS * 1000,
    raiseAfterMs: raiseAfterS * 1000,
    clearAfterMs: clearAfterS * 1000,
  }
}

/** Starts the observer of a run, says where the metrics are, and leaves the configuration for a Prometheus in the run's folder. */
export async function observerOf(request: ObserveRequest): Promise<Observer> {
  const { scenario, plan, terminal, watchers, net, folder, launches, run } = request
  const processes = launches.flatMap(({ id, spec }) => (spec === undefined ? [] : [{ id, role: spec.role }]))
  const observer = await Observer.start({
    ...watchers,
    lab: net.lab,
    processes,
    links: plan.links,
    linkName: (link) => net.links.find((entry) => entry.link === link)?.name ?? `link ${link}`,
    limits: limitsOf(scenario),
    eventsFile: folder.eventsFile('run'),
    terminal,
    run,
  })
  const address = observer.metricsAddress
  if (address !== undefined) {
    const rules = new URL('../../../../grafana/prometheus/rules.yml', import.meta.url)
    folder.write('rules.yml', readFileSync(rules, 'utf8'))
    folder.write(
      'prometheus.yml',
      prometheusConfig({ lab: net.lab, address, targets: processes, rulesFile: 'rules.yml' }),
    )
    terminal.say(`metrics: http://${address}/metrics; prometheus --config.file=${folder.file('prometheus.yml')}`)
  }
  for (const name of watchers.alerts.keys()) terminal.say(`alerts go to ${name}`)
  return observer
}
