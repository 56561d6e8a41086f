import { stringify } from 'yaml'

export type ScrapeTarget = { readonly id: string; readonly role: string }

export type ScrapeLab = {
  readonly lab: string
  /** Where the run serves the metrics of all its processes, `HOST:PORT`. */
  readonly address: string
  readonly targets: readonly ScrapeTarget[]
  /** Path of the rules file; Prometheus takes it from the configuration's folder. */
  readonly rulesFile: string
}

/** Path under which the run serves the metrics of a process. */
export function metricsPathOf(id: string): string {
  return `/metrics/${id}`
}

/** Configuration for a Prometheus that scrapes every process of one lab, once a second. */
export function prometheusConfig({ lab, address, targets, rulesFile }: ScrapeLab): string {
  return stringify({
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [rulesFile],
    scrape_configs: [
      {
        job_name: 'q104',
        static_configs: targets.map(({ id, role }) => ({
          targets: [address],
          labels: { lab, process: id, role, __metrics_path__: metricsPathOf(id) },
        })),
        relabel_configs: [{ source_labels: ['process'], target_label: 'instance' }],
      },
    ],
  })
}
