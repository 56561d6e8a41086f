import { readFileSync } from 'node:fs'
import t from 'tap'
import { type LabPlan, parseScenario, planOf, worldOf } from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'

function planOfFile(name: string): LabPlan {
  const file = `scenarios/${name}.yaml`
  return planOf(parseScenario(readFileSync(file, 'utf8'), file))
}

t.before(async () => {
  await cryptoReady
})

t.test('the tiny scenario sheds its load in time and every task is full', async (t) => {
  const lab = worldOf(planOfFile('tiny'))
  const records = lab.run()
  const metrics = lab.metrics('test')
  t.same(metrics.invalidReasons, [])
  t.equal(metrics.pFull, 1)
  t.match(metrics.byClass, { shedding: { tasks: 1 }, agc: { tasks: 5 }, telemetry: { tasks: 20 } })
  t.same(metrics.bookDifferences, [])
  const [shed] = records.filter(({ name }) => name === 'grid.shed')
  t.match(shed, { bus: 3, mw: 42.5 })
  t.ok(
    shed !== undefined && shed.tMs > 5_200 && shed.tMs < 5_700,
    `shed at ${shed?.tMs} ms, 0.6 s after the step at most`,
  )
  t.ok((metrics.trrS ?? 99) <= 15, 'the grid is judged until the end of the run, not of the drain')
})

t.test('the same plan and seed give the same records, another seed gives others', async (t) => {
  const plan = planOfFile('tiny')
  const once = JSON.stringify(worldOf(plan, 3).run())
  t.equal(JSON.stringify(worldOf(JSON.parse(JSON.stringify(plan)), 3).run()), once)
  t.not(JSON.stringify(worldOf(plan, 4).run()), once)
})

t.test(
  'the main job runs a minute in seconds, sheds in time, and its books agree through cuts and breaks',
  async (t) => {
    const plan = planOfFile('ieee39')
    for (const seed of [plan.seed, 3]) {
      const lab = worldOf(plan, seed)
      const startMs = performance.now()
      lab.run()
      const tookS = (performance.now() - startMs) / 1000
      const metrics = lab.metrics('test')
      t.same(metrics.invalidReasons, [], `seed ${seed}`)
      t.same(metrics.bookDifferences, [])
      t.ok(metrics.pFull > 0.9, `P_full ${metrics.pFull}`)
      t.equal(metrics.byClass['shedding']?.tasks, 8)
      t.ok((metrics.maxAbsDeltaFHz ?? 1) < 0.12, `max |df| ${metrics.maxAbsDeltaFHz} Hz`)
      t.ok((metrics.keys?.breaks ?? 0) >= 1, 'a link was cut')
      t.ok((metrics.keys?.minPoolBits ?? 1e9) < 32_000, 'the stock came near K_th')
      t.ok(tookS < 20, `60 s of lab time in ${tookS.toFixed(1)} s`)
    }
  },
)

t.test('datagrams that are lost, repeated, damaged or late leave the books in order', async (t) => {
  const plan = planOfFile('tiny')
  const lab = worldOf(plan, 11)
  lab.world.setFaults({
    dropRatio: 0.05,
    duplicateRatio: 0.05,
    corruptRatio: 0.03,
    truncateRatio: 0.02,
    reorderRatio: 0.1,
  })
  lab.run()
  const metrics = lab.metrics('test')
  t.same(metrics.bookDifferences, [])
  t.ok(metrics.retransmissions > 0)
  t.ok(metrics.pDelivered > 0.8, `P_delivered ${metrics.pDelivered}`)
})
