/** A series of a panel in Prometheus' language. */
export type PrometheusSeries = { readonly expr: string; readonly legend: string }
/** A series of a panel in InfluxDB's language; `alias` may use `$tag_<name>`. */
export type InfluxSeries = { readonly query: string; readonly alias: string }

export type Panel = {
  readonly title: string
  readonly description: string
  /** Grafana's name of the unit. */
  readonly unit: string
  readonly prometheus: readonly PrometheusSeries[]
  readonly influx: readonly InfluxSeries[]
}

export type Board = {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly panels: readonly Panel[]
}

const WHERE = `"lab" =~ /^$lab$/ AND $timeFilter`
const by = (tags: readonly string[]): string => tags.map((tag) => `, "${tag}"`).join('')

/** Prometheus: the metric as it is. Influx: its mean in each interval. */
function level(metric: string, tags: readonly string[], where = ''): Pick<Panel, 'prometheus' | 'influx'> {
  const legend = tags.map((tag) => `{{${tag}}}`).join(' ') || metric
  const alias = tags.map((tag) => `$tag_${tag}`).join(' ') || metric
  const [key, value] = where.split('=')
  const condition = where === '' ? '' : ` AND "${key}" = '${value}'`
  const filter = where === '' ? '' : `,${key}="${value}"`
  return {
    prometheus: [{ expr: `${metric}{lab=~"$lab"${filter}}`, legend }],
    influx: [
      {
        query: `SELECT mean("value") FROM "${metric}" WHERE ${WHERE}${condition} GROUP BY time($__interval)${by(tags)} fill(none)`,
        alias,
      },
    ],
  }
}

/** What a counter grows by in a second, by tags. */
function rate(metric: string, tags: readonly string[]): Pick<Panel, 'prometheus' | 'influx'> {
  return {
    prometheus: [
      {
        expr: `sum by (${tags.join(', ')}) (rate(${metric}{lab=~"$lab"}[$__rate_interval]))`,
        legend: tags.map((tag) => `{{${tag}}}`).join(' '),
      },
    ],
    influx: [
      {
        query: `SELECT non_negative_derivative(sum("value"), 1s) FROM (SELECT last("value") AS "value" FROM "${metric}" WHERE ${WHERE} GROUP BY time($__interval), "process"${by(tags.filter((tag) => tag !== 'process'))} fill(none)) WHERE $timeFilter GROUP BY time($__interval)${by(tags)} fill(none)`,
        alias: tags.map((tag) => `$tag_${tag}`).join(' '),
      },
    ],
  }
}

/** Prometheus: median and 95th percentile of a histogram. Influx: its mean, for it has no buckets. */
function latency(metric: string, tags: readonly string[]): Pick<Panel, 'prometheus' | 'influx'> {
  const quantile = (q: number): PrometheusSeries => ({
    expr: `histogram_quantile(${q}, sum by (${['le', ...tags].join(', ')}) (rate(${metric}_bucket{lab=~"$lab"}[$__rate_interval])))`,
    legend: [...tags.map((tag) => `{{${tag}}}`), `p${q * 100}`].join(' '),
  })
  return {
    prometheus: [quantile(0.5), quantile(0.95)],
    influx: [
      {
        query: `SELECT non_negative_difference(last("sum")) / non_negative_difference(last("count")) FROM "${metric}" WHERE ${WHERE} GROUP BY time($__interval), "process"${by(tags)} fill(none)`,
        alias: [...tags.map((tag) => `$tag_${tag}`), 'mean'].join(' '),
      },
    ],
  }
}

function join(...parts: readonly Pick<Panel, 'prometheus' | 'influx'>[]): Pick<Panel, 'prometheus' | 'influx'> {
  return {
    prometheus: parts.flatMap(({ prometheus }) => prometheus),
    influx: parts.flatMap(({ influx }) => influx),
  }
}

const stock: Panel = {
  title: 'Key stock and its thresholds',
  description: 'Key in the pool that no channel has drawn, beside K_safe, the level of reconfiguration and K_cap',
  unit: 'decbits',
  ...join(
    level('q104_key_stock_bits', []),
    level('q104_key_reserved_bits', []),
    level('q104_key_threshold_bits', ['threshold']),
  ),
}
const keyFlow: Panel = {
  title: 'Key generated, used, expired, discarded',
  description: 'Bits a second by what became of them',
  unit: 'bps',
  ...rate('q104_key_bits_total', ['kind']),
}
const keyRate: Panel = {
  title: 'Key rate of QKD links',
  description: 'What each QKD link makes now; zero while it is broken',
  unit: 'bps',
  ...level('q104_qkd_key_rate_bits_per_second', ['link']),
}
const keyWait: Panel = {
  title: 'Waiting for key',
  description: 'Time a message waited until its channel had key for it, by its next link',
  unit: 's',
  ...latency('q104_key_wait_seconds', ['link']),
}
const booksBalanced: Panel = {
  title: 'Books of the pool balance',
  description: '1: generated = used + expired + discarded + reserved + pool, to the bit',
  unit: 'short',
  ...level('q104_key_books_balanced', []),
}
const cpu: Panel = {
  title: 'CPU of each process',
  description: 'Share of one core',
  unit: 'percentunit',
  ...rate('process_cpu_seconds_total', ['process']),
}
const memory: Panel = {
  title: 'Memory of each process',
  description: 'Resident memory',
  unit: 'bytes',
  ...level('process_resident_memory_bytes', ['process']),
}

/** The dashboards: what an operator looks at, from the stock down to the processes. */
export const BOARDS: readonly Board[] = [
  {
    uid: 'q104-key-stock',
    title: 'Q104: key stock',
    description: 'Is there enough key, and where does it go',
    panels: [
      stock,
      keyFlow,
      {
        title: 'Level of the stock',
        description: '1 for the present level; below reconfigure the scheduler saves, below protect it guards',
        unit: 'short',
        ...level('q104_key_level', ['level']),
      },
      booksBalanced,
    ],
  },
  {
    uid: 'q104-chains',
    title: 'Q104: control chains',
    description: 'Do commands arrive in time, and in which suite',
    panels: [
      {
        title: 'Chains by state',
        description: 'OTP, AES or off, as each control centre has set them',
        unit: 'short',
        ...level('q104_chains', ['process', 'state']),
      },
      {
        title: 'Commands given',
        description: 'A second, by type of task',
        unit: 'ops',
        ...rate('q104_tasks_issued_total', ['task_type']),
      },
      {
        title: 'Commands past their deadline',
        description: 'A second, by type of task',
        unit: 'ops',
        ...rate('q104_task_deadline_misses_total', ['task_type']),
      },
      {
        title: 'From issue to termination',
        description: 'Delivered commands, by type of task',
        unit: 's',
        ...latency('q104_task_duration_seconds', ['task_type']),
      },
      keyWait,
      {
        title: 'Waiting in queues',
        description: 'Time a message waited behind others, by its next link',
        unit: 's',
        ...latency('q104_queue_seconds', ['link']),
      },
    ],
  },
  {
    uid: 'q104-frequency',
    title: 'Q104: frequency',
    description: 'What the grid did',
    panels: [
      {
        title: 'Frequency deviation',
        description: 'Of the centre of inertia and of the worst machine',
        unit: 'hertz',
        ...level('q104_frequency_deviation_hertz', ['of']),
      },
      {
        title: 'Actions on the grid',
        description: 'Loads shed, set-points, disturbances, refusals, a second',
        unit: 'ops',
        ...rate('q104_grid_actions_total', ['action']),
      },
      {
        title: 'Time of the actuators',
        description: 'From the command at the IED to the answer of the grid',
        unit: 's',
        ...latency('q104_breaker_seconds', []),
      },
      {
        title: 'Age of telemetry at the control centre',
        description: 'From its time tag, by suite',
        unit: 's',
        ...latency('q104_telemetry_latency_seconds', ['suite']),
      },
    ],
  },
  {
    uid: 'q104-links',
    title: 'Q104: links',
    description: 'Which way is open, how fast, and what is lost',
    panels: [
      {
        title: 'QKD links up',
        description: '1: makes key; 0: broken',
        unit: 'short',
        ...level('q104_qkd_link_up', ['link']),
      },
      keyRate,
      {
        title: 'Secure links up',
        description: '1: established, at each end',
        unit: 'short',
        ...level('q104_link_up', ['process', 'link']),
      },
      {
        title: 'One-way delay',
        description: 'As the law of the link has it now',
        unit: 's',
        ...level('q104_link_delay_seconds', ['link']),
      },
      {
        title: 'Datagrams',
        description:
          'A second, by link and what became of them; lostByLaw: by the law of the link, refused: not from the peer',
        unit: 'pps',
        ...rate('q104_datagrams_total', ['link', 'kind']),
      },
      {
        title: 'Links coming up and going down',
        description: 'Changes a second',
        unit: 'ops',
        ...rate('q104_link_changes_total', ['link', 'to']),
      },
    ],
  },
  {
    uid: 'q104-keyserver',
    title: 'Q104: key server',
    description: 'The process that hands out the keys',
    panels: [
      stock,
      keyFlow,
      keyWait,
      booksBalanced,
      {
        title: 'Key slots of the channels',
        description: 'Slots of 4 bytes assigned and used, by channel and side',
        unit: 'short',
        ...level('q104_channel_slots', ['channel', 'side', 'kind']),
      },
      {
        title: 'Memory of the key server',
        description: 'Resident memory',
        unit: 'bytes',
        ...level('process_resident_memory_bytes', ['process'], 'role=keyserver'),
      },
    ],
  },
  {
    uid: 'q104-nodes',
    title: 'Q104: nodes',
    description: 'The processes of the lab, and whether this machine keeps up with them',
    panels: [
      cpu,
      memory,
      {
        title: 'Latest timer',
        description: 'By how much the latest timer of a node came late: beyond 0.5 s a run is not valid',
        unit: 's',
        ...level('q104_wake_lag_max_seconds', ['process']),
      },
      {
        title: 'Events',
        description: 'Recorded a second, by process',
        unit: 'ops',
        ...rate('q104_events_total', ['process']),
      },
    ],
  },
]
