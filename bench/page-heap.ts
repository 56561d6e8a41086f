/**
 * Whether the page, left open for half an hour, keeps growing: the record of a virtual run is shown over and over to a real
 * browser, ten times as fast as it was, with as many messages as in half an hour. Prints the heaps after a collection.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { chromium } from 'playwright-core'
import { apiOf } from '../src/cli/api/api-server.ts'
import { headOf } from '../src/cli/api/head-of.ts'
import { StateStream } from '../src/cli/api/state-stream.ts'
import { type LabRecord, LabView } from '../src/dashboard/index.ts'
import { parseScenario, planOf, worldOf } from '../src/experiment/index.ts'

const LAB_MINUTES = 30
const MESSAGES_PER_S = 10
const SPEED = 10
const ROUNDS = 10
const RUN_S = 120

export async function bench(args: string[]): Promise<void> {
  const speed = Number(args[0] ?? SPEED)
  const scenario = { ...parseScenario(readFileSync('scenarios/ieee39.yaml', 'utf8'), 'ieee39.yaml'), durationS: RUN_S }
  const plan = planOf(scenario)
  const records = [...worldOf(plan).run()].sort((a, b) => a.tMs - b.tMs)
  const context = { lab: 'bench', version: '0', mode: 'live', isolation: 'virtual', impairment: 'virtual' } as const
  const view = new LabView(headOf(scenario, plan, context))
  view.setPhase('running')
  const source = { head: () => view.head, state: () => view.state(), history: () => view.history.columns() }
  const stream = new StateStream(source.state)
  const app = apiOf({ source, version: '0' }, stream)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0

  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu'],
  })
  const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } })
  const devtools = await page.context().newCDPSession(page)
  await page.goto(`http://127.0.0.1:${port}/`)
  await page.waitForSelector('.tile')

  const feed = feederOf(view, records)
  const labMs = LAB_MINUTES * 60_000
  const beganMs = performance.now()
  let sent = 0
  console.log('lab time  messages  page heap MB  DOM nodes  listeners  server heap MB')
  for (let round = 0; round <= ROUNDS; round++) {
    const untilMs = (labMs * round) / ROUNDS
    while (feed.tMs < untilMs) {
      feed.upTo(Math.min(untilMs, (performance.now() - beganMs) * speed))
      // The stream's own timer sends ten a second; at this speed that many a lab second are due.
      for (; sent < (feed.tMs / 1000) * MESSAGES_PER_S; sent++) stream.tick()
      await sleep(1000 / (MESSAGES_PER_S * speed))
    }
    await devtools.send('HeapProfiler.collectGarbage')
    const { usedSize } = await devtools.send('Runtime.getHeapUsage')
    const { nodes, jsEventListeners } = await devtools.send('Memory.getDOMCounters')
    const mb = (bytes: number): string => (bytes / 1e6).toFixed(1).padStart(10)
    const columns = [`${(untilMs / 60_000).toFixed(0)} min`.padStart(8), String(sent).padStart(8), mb(usedSize)]
    console.log(
      [...columns, String(nodes).padStart(10), String(jsEventListeners).padStart(9), mb(serverHeap())].join('  '),
    )
  }
  await browser.close()
  stream.close()
  await app.close()
}

/** Shows the record again and again, each time later. */
function feederOf(view: LabView, records: readonly LabRecord[]) {
  const lengthMs = RUN_S * 1000
  const feeder = {
    tMs: 0,
    next: 0,
    upTo(toMs: number): void {
      while (feeder.tMs < toMs) {
        feeder.tMs = Math.min(toMs, feeder.tMs + 100)
        for (;;) {
          const round = Math.floor(feeder.next / records.length)
          const record = records[feeder.next % records.length]
          if (record === undefined) break
          const tMs = record.tMs + round * lengthMs
          if (tMs > feeder.tMs) break
          view.take({ ...record, tMs })
          feeder.next += 1
        }
        view.tick(feeder.tMs)
      }
    },
  }
  return feeder
}

function serverHeap(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
