/** Soak of our client and server: 24 hours in virtual time, or with --real minutes over loopback TCP in two processes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { soak } from '../test/iec104/end-to-end/soak.ts'
import { collectGarbage, setting } from './iec104/figures.ts'
import { startPair } from './iec104/pair.ts'

const SEQ_MODULUS = 32_768
const HOUR_MS = 3_600_000

/**
 * Exit code 1 for a gap, a duplicate, a failed operation, or memory that grows. Options: --real, --minutes N (3),
 * --hours N (24), --seed N (1).
 */
export async function bench(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      real: { type: 'boolean', default: false },
      minutes: { type: 'string', default: '3' },
      hours: { type: 'string', default: '24' },
      seed: { type: 'string', default: '1' },
    },
  })
  console.log(`iec104-soak\n${setting()}`)
  if (values.real) return realSoak(Number(values.minutes) * 60_000)
  return virtualSoak(Number(values.hours), Number(values.seed))
}

type Memory = { readonly heapBytes: number; readonly rssBytes: number }

function memoryNow(): Memory {
  collectGarbage()
  const { heapUsed, rss } = process.memoryUsage()
  return { heapBytes: heapUsed, rssBytes: rss }
}

function memoryText({ heapBytes, rssBytes }: Memory): string {
  return `heap ${(heapBytes / 2 ** 20).toFixed(1)} MiB, RSS ${(rssBytes / 2 ** 20).toFixed(1)} MiB`
}

/** The heap after a collection may not have grown by a quarter and 4 MiB since the middle of the run. */
function isFlat(middle: Memory, end: Memory): boolean {
  return end.heapBytes < middle.heapBytes * 1.25 + 4 * 2 ** 20
}

function virtualSoak(hours: number, seed: number): number {
  const marks: Memory[] = []
  const fromMs = performance.now()
  const result = soak({
    durationMs: hours * HOUR_MS,
    changesPerS: 5,
    seed,
    mark(name) {
      const memory = memoryNow()
      marks.push(memory)
      console.log(`${name.padEnd(8)} ${memoryText(memory)}`)
    },
  })
  const { failed, closes, ...counts } = result
  const tookS = ((performance.now() - fromMs) / 1000).toFixed(1)
  console.log(`${hours} h of virtual time in ${tookS} s: ${JSON.stringify(counts)}`)
  for (const problem of [...failed, ...closes]) console.log(problem)
  const [, middle, end] = marks
  const isSteady = middle !== undefined && end !== undefined && isFlat(middle, end)
  const isGood = counts.gaps + counts.duplicates + counts.droppedEvents + failed.length + closes.length === 0
  return verdict(isGood, isSteady)
}

async function realSoak(durationMs: number): Promise<number> {
  const config = {
    points: [
      { ca: 1, ioa: 1, kind: 'bitstring' },
      { ca: 1, ioa: 2, kind: 'single' },
    ],
    commands: [{ ca: 1, ioa: 100, kind: 'single', pointIoa: 2 }],
    maxEventsPerAsdu: 1,
  } as const
  const pair = await startPair(config)
  let expected = 1
  let gaps = 0
  let duplicates = 0
  let frames = 0
  const closes: string[] = []
  const failed: string[] = []
  pair.observe = (news) => {
    if (news.kind === 'link' && news.state === 'closed') closes.push(news.reason)
    if (news.kind === 'data') frames += 1
    if (news.kind !== 'data' || news.asdu.type !== 'M_BO_TB_1') return
    for (const { value } of news.asdu.objects) {
      if (value.bsi < expected) duplicates += 1
      if (value.bsi > expected) gaps += value.bsi - expected
      expected = Math.max(expected, value.bsi + 1)
    }
  }
  const marks: { readonly client: Memory; readonly server: Memory }[] = []
  const mark = async (name: string): Promise<void> => {
    const mine = { client: memoryNow(), server: await pair.report(true) }
    marks.push(mine)
    console.log(
      `${name.padEnd(8)} client ${memoryText(mine.client)}; server ${memoryText(mine.server)}; ${frames} I-frames`,
    )
  }
  pair.load({ kind: 'flood', waiting: 2000, ca: 1, ioa: 1 })
  const operate = async (untilMs: number): Promise<void> => {
    while (performance.now() < untilMs) {
      const sco = { on: frames % 2 === 0, qu: 3, select: false }
      const value = { kind: 'command', type: 'C_SC_NA_1', ca: 1, ioa: 100, value: { sco }, mode: 'direct' } as const
      const { result } = await pair.session.operate(value)
      if (result.kind !== 'confirmed') failed.push(JSON.stringify(result))
      await sleep(200)
    }
  }
  const fromMs = performance.now()
  await operate(fromMs + 5_000)
  await mark('start')
  await operate(fromMs + durationMs / 2)
  await mark('middle')
  await operate(fromMs + durationMs)
  pair.load({ kind: 'none' })
  await sleep(2000)
  await mark('end')
  const { changes, status } = await pair.report()
  await pair.close()
  gaps += changes + 1 - expected
  const dropped = status.groups.reduce((sum, { droppedEvents }) => sum + droppedEvents, 0)
  const wraps = Math.floor(frames / SEQ_MODULUS)
  const counts = {
    changes,
    frames,
    wraps,
    framesPerS: Math.round(frames / (durationMs / 1000)),
    gaps,
    duplicates,
    dropped,
  }
  console.log(`${durationMs / 60_000} min of real time: ${JSON.stringify(counts)}`)
  for (const problem of [...failed, ...closes]) console.log(problem)
  const [, middle, end] = marks
  const isSteady =
    middle !== undefined && end !== undefined && isFlat(middle.client, end.client) && isFlat(middle.server, end.server)
  return verdict(gaps + duplicates + dropped + failed.length + closes.length === 0 && wraps > 0, isSteady)
}

function verdict(isGood: boolean, isSteady: boolean): number {
  console.log(isGood ? 'no gap, no duplicate, no failed operation' : 'FAILED: a gap, a duplicate or a failed operation')
  console.log(isSteady ? 'flat memory' : 'FAILED: memory grows')
  return isGood && isSteady ? 0 : 1
}
