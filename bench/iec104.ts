/** Throughput and latency of our client and server over loopback TCP, each in a process of its own, k = 12, w = 8. */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Operation } from '../src/master/index.ts'
import type { PointSpec, StationConfig } from '../src/rtu/index.ts'
import { type Figure, figureText, isReached, quantile, setting } from './iec104/figures.ts'
import { echoTimes, type Pair, startPair } from './iec104/pair.ts'

const CA = 1
const FLOATS = 10_000
const SINGLES = 10_000

type Plan = { readonly rounds: number; readonly roundMs: number }

/** Runs the benchmark. Exit code 1 when a goal is missed. Options: --rounds N, --seconds N, --only NAME, --cpu-prof. */
export async function bench(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      only: { type: 'string' },
      'cpu-prof': { type: 'boolean', default: false },
    },
  })
  const plan: Plan = { rounds: Number(values.rounds), roundMs: Number(values.seconds) * 1000 }
  const execArgv = values['cpu-prof'] ? ['--cpu-prof', '--cpu-prof-dir=/tmp/q104-prof'] : []
  console.log(`iec104: client and server in two processes over loopback TCP\n${setting()}`)
  console.log(`medians of ${plan.rounds} rounds of ${plan.roundMs} ms (least .. most)`)
  const figures: Figure[] = []
  for (const [name, run] of Object.entries(BENCHES)) {
    if (values.only !== undefined && values.only !== name) continue
    for (const figure of await run(plan, execArgv)) {
      figures.push(figure)
      console.log(figureText(figure))
    }
  }
  return figures.every(isReached) ? 0 : 1
}

type Bench = (plan: Plan, execArgv: readonly string[]) => Promise<readonly Figure[]>

/** What the machine itself takes: to judge the latencies by. */
async function echo({ rounds, roundMs }: Plan): Promise<readonly Figure[]> {
  const all: (readonly number[])[] = []
  for (let round = 0; round < rounds; round++) all.push(await echoTimes(roundMs))
  return [0.5, 0.99].map((share) => ({
    name: `bare TCP echo between two processes, p${share * 100}`,
    unit: 'ms',
    rounds: all.map((each) => quantile(each, share)),
  }))
}

const BENCHES: { readonly [name: string]: Bench } = {
  echo,
  latency: eventLatency,
  single: (plan, execArgv) => flooded(plan, execArgv, 1),
  packed: (plan, execArgv) => flooded(plan, execArgv, undefined),
  interrogation,
  command,
}

function point(timeTag: 'none' | 'cp56', more: Partial<PointSpec> = {}): PointSpec {
  return { ca: CA, ioa: 1, kind: 'bitstring', timeTag, ...more }
}

/** Runs `body` against a server with `config`, and ends both. */
async function withPair<T>(
  config: StationConfig,
  execArgv: readonly string[],
  body: (pair: Pair) => Promise<T>,
): Promise<T> {
  const pair = await startPair(config, execArgv)
  try {
    return await body(pair)
  } finally {
    await pair.close()
  }
}

/** From the change of a value in the server's process to the decoded object in the client's. */
async function eventLatency({ rounds, roundMs }: Plan, execArgv: readonly string[]): Promise<readonly Figure[]> {
  return withPair({ points: [point('cp56')] }, execArgv, async (pair) => {
    const seen = new Map<number, number>()
    pair.observe = (news) => {
      if (news.kind !== 'data' || news.asdu.type !== 'M_BO_TB_1') return
      const atNs = Number(process.hrtime.bigint())
      for (const { value } of news.asdu.objects) seen.set(value.bsi, atNs)
    }
    const measure = async (everyMs: number): Promise<number[]> => {
      pair.load({ kind: 'paced', everyMs, ca: CA, ioa: 1 })
      await sleep(roundMs)
      const { changes, changedAtNs } = await pair.report()
      pair.load({ kind: 'none' })
      await sleep(50)
      const first = changes - changedAtNs.length + 1
      const latencies = changedAtNs.map((atNs, i) => ((seen.get(first + i) ?? Number.NaN) - atNs) / 1e6)
      if (latencies.some(Number.isNaN)) throw new Error('a change did not arrive')
      return latencies
    }
    await measure(2)
    const all: number[][] = []
    for (let round = 0; round < rounds; round++) all.push(await measure(5))
    return [
      { name: 'event: value change to client, p50', unit: 'ms', rounds: all.map((each) => quantile(each, 0.5)) },
      {
        name: 'event: value change to client, p99',
        unit: 'ms',
        rounds: all.map((each) => quantile(each, 0.99)),
        goal: { below: 5 },
      },
    ]
  })
}

/** Events as fast as they go: each alone in its ASDU, or packed. Every value counts up, so that none may be missing. */
async function flooded(
  { rounds, roundMs }: Plan,
  execArgv: readonly string[],
  maxEventsPerAsdu: number | undefined,
): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  for (const timeTag of ['none', 'cp56'] as const) {
    const limit = maxEventsPerAsdu === undefined ? {} : { maxEventsPerAsdu }
    const config: StationConfig = { points: [point(timeTag)], maxEvents: 100_000, ...limit }
    const label = timeTag === 'none' ? 'M_BO_NA_1' : 'M_BO_TB_1'
    const counts = await withPair(config, execArgv, async (pair) => {
      let asdus = 0
      let objects = 0
      let last = 0
      pair.observe = (news) => {
        if (news.kind !== 'data') return
        const { asdu } = news
        if (asdu.type !== 'M_BO_NA_1' && asdu.type !== 'M_BO_TB_1') return
        asdus += 1
        for (const { value } of asdu.objects) {
          if (value.bsi !== last + 1) throw new Error(`value ${value.bsi} after ${last}`)
          last = value.bsi
          objects += 1
        }
      }
      pair.load({ kind: 'flood', waiting: 3000, ca: CA, ioa: 1 })
      await sleep(1000)
      const perSecond: { asdus: number; objects: number }[] = []
      for (let round = 0; round < rounds; round++) {
        const from = { asdus, objects, ms: performance.now() }
        await sleep(roundMs)
        const s = (performance.now() - from.ms) / 1000
        perSecond.push({ asdus: (asdus - from.asdus) / s, objects: (objects - from.objects) / s })
      }
      return perSecond
    })
    if (maxEventsPerAsdu === 1) {
      const goal = { atLeast: 30_000 }
      figures.push({ name: `${label}, one object an ASDU`, unit: 'ASDU/s', rounds: counts.map((c) => c.asdus), goal })
    } else {
      const name = `${label} events, packed (${Math.floor((249 - 6) / (timeTag === 'none' ? 8 : 15))} an ASDU)`
      figures.push({ name, unit: 'objects/s', rounds: counts.map((each) => each.objects) })
    }
  }
  return figures
}

/** Station interrogations of many points, one after the other. */
async function interrogation({ rounds, roundMs }: Plan, execArgv: readonly string[]): Promise<readonly Figure[]> {
  const kinds = { float: FLOATS, single: SINGLES } as const
  const figures: Figure[] = []
  for (const [kind, count] of Object.entries(kinds) as [keyof typeof kinds, number][]) {
    const points = Array.from({ length: count }, (_, i): PointSpec => ({ ca: CA, ioa: i + 1, kind, value: i % 2 }))
    const perSecond = await withPair({ points }, execArgv, async (pair) => {
      const gi: Operation = { kind: 'interrogation', ca: CA, group: 0 }
      const measured: number[] = []
      for (let round = -1; round < rounds; round++) {
        const fromMs = performance.now()
        let objects = 0
        while (performance.now() - fromMs < roundMs) {
          const { result } = await pair.session.operate(gi)
          if (result.kind !== 'confirmed' || result.objectCount !== count) throw new Error(JSON.stringify(result))
          objects += result.objectCount
        }
        if (round >= 0) measured.push((objects / (performance.now() - fromMs)) * 1000)
      }
      return measured
    })
    const label = kind === 'float' ? 'M_ME_NC_1' : 'M_SP_NA_1'
    figures.push({
      name: `${label} interrogated, ${count} points in sequences`,
      unit: 'objects/s',
      rounds: perSecond,
      goal: { atLeast: 400_000 },
    })
  }
  return figures
}

/** Commands one after the other: from the activation to its confirmation, as the client's application sees it. */
async function command({ rounds, roundMs }: Plan, execArgv: readonly string[]): Promise<readonly Figure[]> {
  const config: StationConfig = {
    points: [{ ca: CA, ioa: 1, kind: 'single' }],
    commands: [{ ca: CA, ioa: 100, kind: 'single', pointIoa: 1 }],
  }
  return withPair(config, execArgv, async (pair) => {
    const all: number[][] = []
    for (let round = -1; round < rounds; round++) {
      const latencies: number[] = []
      const untilMs = performance.now() + roundMs
      while (performance.now() < untilMs) {
        const sco = { on: latencies.length % 2 === 0, qu: 3, select: false }
        const operation = {
          kind: 'command',
          type: 'C_SC_NA_1',
          ca: CA,
          ioa: 100,
          value: { sco },
          mode: 'direct',
        } as const
        const { result, confirmMs } = await pair.session.operate(operation)
        if (result.kind !== 'confirmed' || confirmMs === undefined) throw new Error(JSON.stringify(result))
        latencies.push(confirmMs)
      }
      if (round >= 0) all.push(latencies)
    }
    return [
      { name: 'command: ACT to ACTCON, p50', unit: 'ms', rounds: all.map((each) => quantile(each, 0.5)) },
      {
        name: 'command: ACT to ACTCON, p99',
        unit: 'ms',
        rounds: all.map((each) => quantile(each, 0.99)),
        goal: { below: 1 },
      },
      {
        name: 'commands with termination, one after the other',
        unit: 'a second',
        rounds: all.map((each) => (each.length / roundMs) * 1000),
      },
    ]
  })
}
