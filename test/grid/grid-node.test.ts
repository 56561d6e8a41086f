import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import type { Disturbance, GridEffect, GridInput, GridNodeOptions } from '../../src/grid/index.ts'
import { GridError, GridNode, gridCase, parseGridRequest } from '../../src/grid/index.ts'
import type { GridDone, GridRequest, GridSample, LabEvent } from '../../src/runtime/contract.ts'
import { expected, SHED_BUSES } from './fixture-files.ts'

const STEP_400: readonly Disturbance[] = [{ kind: 'loadStep', atMs: 1000, bus: 16, mw: 400 }]

/** Governors and damping of the 39-bus case, MW/Hz: 7100 MVA / 0.05 / 60 Hz + 17100 MVA / 60 Hz. */
const STIFFNESS = 2652

/** A grid node in virtual time: wakes when it asks to be woken, keeps what it says. */
class World {
  readonly node: GridNode
  readonly effects: GridEffect[] = []

  constructor(options: Partial<GridNodeOptions> = {}) {
    this.node = new GridNode({ case: gridCase('ieee39'), disturbances: [], ...options })
    this.give({ kind: 'start', wallMs: 1.7e12 }, 0)
  }

  give(input: GridInput, nowMs: number): void {
    this.runUntil(nowMs)
    this.effects.push(...this.node.handle(input, nowMs))
  }

  ask(request: GridRequest, nowMs: number, client = 1): void {
    this.give({ kind: 'request', client, request }, nowMs)
  }

  runUntil(untilMs: number): void {
    for (let at = this.node.wakeAtMs; at !== undefined && at <= untilMs; at = this.node.wakeAtMs) {
      this.effects.push(...this.node.handle({ kind: 'wake' }, at))
    }
  }

  replies(client = 1): (GridSample | GridDone)[] {
    return this.effects.flatMap((e) => (e.kind === 'reply' && e.client === client ? [e.message] : []))
  }

  samples(client = 1): GridSample[] {
    return this.replies(client).flatMap((message) => (message.kind === 'sample' ? [message] : []))
  }

  dones(client = 1): GridDone[] {
    return this.replies(client).flatMap((message) => (message.kind === 'done' ? [message] : []))
  }

  events(name: string): LabEvent[] {
    return this.effects.flatMap((e) => (e.kind === 'event' && e.event.name === name ? [e.event] : []))
  }

  summaryAt(nowMs: number): LabEvent | undefined {
    this.give({ kind: 'drain' }, nowMs)
    return this.events('grid.summary')[0]
  }
}

t.test('the summary of a run agrees with the reference', async (t) => {
  const runs = [
    { name: 'ieee39_twoaxis_load16_100MW', mw: 100, shedAtMs: undefined, toleranceHz: 1e-6 },
    { name: 'ieee39_twoaxis_load16_400MW', mw: 400, shedAtMs: undefined, toleranceHz: 1e-5 },
    { name: 'ieee39_twoaxis_load16_400MW_shed_fast', mw: 400, shedAtMs: 1600, toleranceHz: 1e-6 },
    { name: 'ieee39_twoaxis_load16_400MW_shed_late', mw: 400, shedAtMs: 9000, toleranceHz: 1e-5 },
  ]
  for (const { name, mw, shedAtMs, toleranceHz } of runs) {
    const reference = expected.summary[name] ?? { maxDevHz: 0, minMachineHz: 0, secondsAbove0p05Hz: 0, tEnd: 0 }
    const world = new World({ disturbances: [{ kind: 'loadStep', atMs: 1000, bus: 16, mw }] })
    SHED_BUSES.forEach((bus, i) => {
      if (shedAtMs === undefined) return
      world.ask({ kind: 'shed', id: i, bus, loadMw: 42.5, breakerDelayMs: 80 }, shedAtMs - 80, bus)
    })
    const summary = world.summaryAt(reference.tEnd * 1000)
    const near = (value: unknown, wanted: number, tolerance: number): boolean =>
      Math.abs(Number(value) - wanted) < tolerance
    t.ok(near(summary?.['maxAbsDeltaFHz'], reference.maxDevHz, toleranceHz), `${name}: centre of inertia`)
    t.ok(near(summary?.['maxWorstMachineHz'], -reference.minMachineHz, 10 * toleranceHz), `${name}: worst machine`)
    t.ok(near(summary?.['secondsAboveBand'], reference.secondsAbove0p05Hz, 0.011), `${name}: seconds above the band`)
    t.equal(summary?.['stepsLate'], 0)
  }
})

t.test('the return into the band is counted from the first disturbance', async (t) => {
  const quiet = new World()
  t.equal(quiet.summaryAt(2000)?.['lastReturnS'], null, 'no disturbance, no return')
  const small = new World({ disturbances: [{ kind: 'loadStep', atMs: 1000, bus: 16, mw: 20 }] })
  t.equal(small.summaryAt(20_000)?.['lastReturnS'], 0, 'never left')
  const lasting = new World({ disturbances: STEP_400 })
  t.equal(lasting.summaryAt(20_000)?.['lastReturnS'], null, 'still outside')
  const shed = new World({ disturbances: STEP_400 })
  for (const bus of SHED_BUSES) shed.ask({ kind: 'shed', id: bus, bus, loadMw: 42.5, breakerDelayMs: 80 }, 1520)
  const returnS = Number(shed.summaryAt(31_000)?.['lastReturnS'])
  t.ok(returnS > 3.26 && returnS < 3.29, `${returnS} s`)
})

t.test('before the first disturbance the grid is steady, and tells its frequency every 100 ms', async (t) => {
  const world = new World({ disturbances: STEP_400 })
  world.runUntil(1100)
  const told = world.events('grid')
  t.same(
    told.map((event) => event['atMs']),
    [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100],
  )
  t.ok(told.slice(0, 11).every((event) => event['deltaFHz'] === 0 && event['worstHz'] === 0))
  t.ok(Number(told[11]?.['deltaFHz']) < -0.005)
  t.match(world.events('grid.disturbance'), [{ disturbance: 'loadStep', bus: 16, mw: 400, atMs: 1000 }])
})

t.test('a subscription is served at once and then at multiples of its period', async (t) => {
  const world = new World({ disturbances: STEP_400 })
  world.ask({ kind: 'subscribe', bus: 30, periodMs: 250 }, 333)
  world.runUntil(1000)
  t.same(
    world.samples().map((sample) => sample.tMs),
    [330, 500, 750, 1000],
  )
  t.match(world.samples()[0], { bus: 30, deltaFHz: 0 })
  t.ok(Math.abs((world.samples()[0]?.powerMw ?? 0) - 250) < 1e-6, 'with the power of the machine there')
  t.ok(Math.abs((world.samples()[0]?.voltagePu ?? 0) - 1.0499) < 1e-9)

  world.ask({ kind: 'subscribe', bus: 30, periodMs: 1 }, 1000)
  world.ask({ kind: 'subscribe', bus: 16, periodMs: 1000 }, 1000, 2)
  world.runUntil(1060)
  const times = world.samples().map((sample) => sample.tMs)
  t.same(times.slice(-4), [1000, 1020, 1040, 1060], 'a second one replaces the first, 20 ms at least')
  t.notOk('powerMw' in (world.samples(2)[0] ?? {}), 'no power at a bus without a machine')

  world.give({ kind: 'clientGone', client: 1 }, 1060)
  world.effects.length = 0
  world.runUntil(2000)
  t.same(world.replies(), [], 'nothing for a client that has gone')
  t.equal(world.samples(2).length, 1)
})

t.test('a shed takes effect when the breaker has moved, and is answered then', async (t) => {
  const world = new World()
  world.ask({ kind: 'subscribe', bus: 3, periodMs: 20 }, 0)
  world.ask({ kind: 'shed', id: 5, bus: 3, loadMw: 42.5, breakerDelayMs: 83 }, 500)
  world.runUntil(579)
  t.same(world.dones(), [])
  world.runUntil(700)
  t.same(world.dones(), [{ kind: 'done', id: 5, ok: true, tMs: 580 }])
  t.match(world.events('grid.shed'), [{ bus: 3, mw: 42.5, atMs: 580 }])
  const voltage = (tMs: number): number => world.samples().find((sample) => sample.tMs === tMs)?.voltagePu ?? Number.NaN
  t.ok(Math.abs(voltage(560) - voltage(0)) < 1e-12, 'no change before')
  t.ok(voltage(580) - voltage(560) > 1e-4, 'the voltage of the same instant is that after the event')
})

t.test('the same shed twice sheds once; another request with its id is refused', async (t) => {
  const world = new World()
  const shed: GridRequest = { kind: 'shed', id: 1, bus: 16, loadMw: 100, breakerDelayMs: 50 }
  world.ask(shed, 100)
  world.ask(shed, 120)
  world.runUntil(200)
  t.same(world.dones(), [{ kind: 'done', id: 1, ok: true, tMs: 150 }], 'one answer for two requests under way')
  world.ask(shed, 300)
  t.same(world.dones()[1], world.dones()[0], 'and the same answer again')
  world.ask({ ...shed, loadMw: 50 }, 310)
  t.match(world.dones()[2], { id: 1, ok: false, reason: 'id 1 was used for another request' })
  world.ask(shed, 400, 2)
  world.runUntil(500)
  t.same(world.dones(2), [{ kind: 'done', id: 1, ok: true, tMs: 450 }], 'ids are a client’s own')
  t.equal(world.events('grid.shed').length, 2)
})

t.test('a bus cannot shed more load than it has', async (t) => {
  const world = new World()
  const shed = (id: number, loadMw: number): GridRequest => ({ kind: 'shed', id, bus: 31, loadMw, breakerDelayMs: 0 })
  world.ask(shed(1, 9), 100)
  world.ask(shed(2, 9), 100)
  world.ask(shed(3, 9), 100)
  world.ask({ kind: 'shed', id: 4, bus: 2, loadMw: 1, breakerDelayMs: 0 }, 100)
  t.match(world.dones(), [
    { id: 1, ok: true },
    { id: 2, ok: true, reason: 'only 0.200 MW were left' },
    { id: 3, ok: false, reason: 'no load left at bus 31' },
    { id: 4, ok: false, reason: 'no load left at bus 2' },
  ])
})

t.test('a set point moves the load reference by its difference to the initial value', async (t) => {
  const world = new World()
  world.ask({ kind: 'setpoint', id: 1, bus: 30, deltaMw: 100 }, 123.4)
  t.same(world.dones(), [{ kind: 'done', id: 1, ok: true, tMs: 120 }])
  world.ask({ kind: 'setpoint', id: 2, bus: 30, deltaMw: 50 }, 60_000)
  world.runUntil(120_000)
  const told = world.events('grid').map((event) => Number(event['deltaFHz']))
  t.ok(Math.abs((told[600] ?? 0) - 100 / STIFFNESS) < 0.003, `${told[600]} Hz`)
  t.ok(Math.abs((told[1200] ?? 0) - 50 / STIFFNESS) < 0.003, `${told[1200]} Hz`)
})

t.test('requests that this grid cannot meet are refused with the reason', async (t) => {
  const world = new World({ disturbances: [{ kind: 'trip', atMs: 500, bus: 32 }] })
  world.ask({ kind: 'shed', id: 1, bus: 99, loadMw: 1, breakerDelayMs: 0 }, 100)
  world.ask({ kind: 'shed', id: 2, bus: 16, loadMw: Number.NaN, breakerDelayMs: 0 }, 100)
  world.ask({ kind: 'shed', id: 3, bus: 16, loadMw: -5, breakerDelayMs: 0 }, 100)
  world.ask({ kind: 'shed', id: 4, bus: 16, loadMw: 5, breakerDelayMs: 1e9 }, 100)
  world.ask({ kind: 'setpoint', id: 5, bus: 39, deltaMw: 1 }, 100)
  world.ask({ kind: 'setpoint', id: 6, bus: 30, deltaMw: 1001 }, 100)
  world.ask({ kind: 'setpoint', id: 7, bus: 32, deltaMw: 1 }, 600)
  world.ask({ kind: 'subscribe', bus: 99, periodMs: 100 }, 600)
  t.match(world.dones(), [
    { id: 1, ok: false, reason: 'unknown bus 99' },
    { id: 2, ok: false, reason: 'loadMw must be a number from 0 to 1000000' },
    { id: 3, ok: false, reason: 'loadMw must be a number from 0 to 1000000' },
    { id: 4, ok: false, reason: 'breakerDelayMs must be a number from 0 to 60000' },
    { id: 5, ok: false, reason: 'no governor at bus 39' },
    { id: 6, ok: false, reason: 'deltaMw is beyond the rating of 1000 MVA' },
    { id: 7, ok: false, reason: 'the machine at bus 32 is off' },
  ])
  t.equal(world.events('grid.refused').length, 7, 'the subscription too is told to the record')
  t.match(world.events('grid.disturbance'), [{ disturbance: 'trip', bus: 32 }])
})

t.test('a line that is no request is answered with its id', async (t) => {
  const world = new World()
  const line = parseGridRequest(new TextEncoder().encode('{"kind":"shed","id":7,"bus":1}'))
  if (line.kind === 'fault') world.give({ kind: 'badLine', client: 1, fault: line.fault }, 50)
  world.give({ kind: 'badLine', client: 1, fault: { code: 'NOT_JSON', reason: 'not JSON' } }, 60)
  t.match(world.dones(), [
    { id: 7, ok: false, reason: /^loadMw must be/ },
    { id: 0, ok: false, reason: 'not JSON' },
  ])
  for (let i = 0; i < 100; i++) {
    world.give({ kind: 'badLine', client: 1, fault: { code: 'NOT_JSON', reason: 'not JSON' } }, 70)
  }
  t.equal(world.events('grid.refused').length, 20, 'the record is not flooded')
  t.match(world.summaryAt(100), { refusals: 102 })
})

t.test('a client cannot have more than 256 actions under way', async (t) => {
  const world = new World()
  for (let id = 0; id <= 256; id++) world.ask({ kind: 'shed', id, bus: 16, loadMw: 0.1, breakerDelayMs: 500 }, 0)
  t.match(world.dones(), [{ id: 256, ok: false, reason: 'too many actions under way' }])
  world.runUntil(1000)
  t.equal(world.events('grid.shed').length, 256)
  world.ask({ kind: 'shed', id: 1000, bus: 16, loadMw: 0.1, breakerDelayMs: 0 }, 1000)
  t.match(world.dones().at(-1), { id: 1000, ok: true }, 'answered ones make room')
})

t.test('how time is cut into wakes makes no difference to the grid', async (t) => {
  const inputs = (world: World): void => {
    for (const bus of SHED_BUSES) world.ask({ kind: 'shed', id: bus, bus, loadMw: 42.5, breakerDelayMs: 80 }, 1520)
  }
  const even = new World({ disturbances: STEP_400 })
  inputs(even)
  const reference = even.summaryAt(8000)
  const wrong: string[] = []
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 8000, noNaN: true }), { maxLength: 20 }), (times) => {
      const uneven = new World({ disturbances: STEP_400 })
      const cuts = times.toSorted((a, b) => a - b)
      for (const at of cuts) if (at < 1520) uneven.effects.push(...uneven.node.handle({ kind: 'wake' }, at))
      inputs(uneven)
      for (const at of cuts) if (at > 1520) uneven.effects.push(...uneven.node.handle({ kind: 'wake' }, at))
      const summary = { ...uneven.summaryAt(8000), stepsLate: 0 }
      if (!isDeepStrictEqual(summary, reference)) wrong.push(JSON.stringify(summary))
    }),
    { numRuns: 10 },
  )
  t.same(wrong, [])
})

t.test('a process that was held up catches up in bounded pieces, and says that it was late', async (t) => {
  const world = new World({ disturbances: STEP_400, maxStepsPerInput: 100 })
  world.ask({ kind: 'subscribe', bus: 16, periodMs: 20 }, 0)
  world.effects.length = 0
  world.effects.push(...world.node.handle({ kind: 'wake' }, 5005))
  t.equal(world.node.wakeAtMs, 5005, 'more at once')
  t.same(
    world.samples().map((sample) => sample.tMs),
    [2000],
    'the samples missed are left out',
  )
  let wakes = 1
  for (; world.node.wakeAtMs === 5005; wakes++) world.effects.push(...world.node.handle({ kind: 'wake' }, 5005))
  t.equal(wakes, 4)
  t.equal(world.events('grid').at(-1)?.['atMs'], 5000)
  t.equal(world.events('grid').length, 50, 'the record misses nothing')
  t.equal(world.summaryAt(5005)?.['stepsLate'], 1)
})

t.test('after drain breakers under way still move, and then there is nothing to wake for', async (t) => {
  const world = new World({ disturbances: [...STEP_400, { kind: 'loadStep', atMs: 9000, bus: 16, mw: 1 }] })
  world.ask({ kind: 'subscribe', bus: 16, periodMs: 100 }, 0)
  world.ask({ kind: 'shed', id: 1, bus: 16, loadMw: 10, breakerDelayMs: 300 }, 1900)
  world.give({ kind: 'drain' }, 2000)
  world.give({ kind: 'drain' }, 2000)
  t.equal(world.node.wakeAtMs, 2200)
  const before = world.samples().length
  world.runUntil(20_000)
  t.match(world.dones(), [{ id: 1, ok: true, tMs: 2200 }])
  t.equal(world.samples().length, before)
  t.equal(world.node.wakeAtMs, undefined)
  t.equal(world.events('grid.summary').length, 1)
  t.equal(world.events('grid.disturbance').length, 1)
})

t.test('a breaker told to move does so after its client has gone', async (t) => {
  const world = new World()
  world.ask({ kind: 'shed', id: 1, bus: 16, loadMw: 10, breakerDelayMs: 300 }, 100)
  world.give({ kind: 'clientGone', client: 1 }, 200)
  world.ask({ kind: 'subscribe', bus: 3, periodMs: 1000 }, 300)
  world.runUntil(1000)
  t.equal(world.events('grid.shed').length, 1)
  t.same(world.dones(), [], 'and no other client of that number is told')
})

t.test('a grid that collapses says so, ends its samples and refuses actions', async (t) => {
  const world = new World({ disturbances: [{ kind: 'loadStep', atMs: 100, bus: 16, mw: 5000 }] })
  world.ask({ kind: 'subscribe', bus: 16, periodMs: 100 }, 0)
  world.runUntil(60_000)
  t.equal(world.events('grid.collapsed').length, 1)
  t.equal(world.node.wakeAtMs, undefined)
  t.ok(world.samples().every((sample) => Number.isFinite(sample.deltaFHz + sample.voltagePu)))
  world.ask({ kind: 'shed', id: 1, bus: 16, loadMw: 10, breakerDelayMs: 0 }, 60_000)
  t.match(world.dones(), [{ id: 1, ok: false, reason: 'the grid has collapsed' }])
  const summary = world.summaryAt(60_000)
  t.match(summary, { collapsed: true, lastReturnS: null })
  t.ok(Number(summary?.['secondsAboveBand']) > 59, 'all of its time counts as outside the band')
})

t.test('whatever a peer asks, the node answers without throwing and with finite numbers', async (t) => {
  const number = fc.oneof(fc.double(), fc.integer({ min: -5, max: 45 }), fc.constantFrom(1e6, 60_000, 42.5))
  const request = fc.oneof(
    fc.anything(),
    fc.record(
      {
        kind: fc.constantFrom('subscribe', 'shed', 'setpoint', 'constructor'),
        id: number,
        bus: number,
        periodMs: number,
        loadMw: number,
        breakerDelayMs: number,
        deltaMw: number,
      },
      { requiredKeys: ['kind'] },
    ),
    fc.record({ kind: fc.constant('shed'), id: number, bus: number, loadMw: number, breakerDelayMs: number }),
    fc.record({ kind: fc.constant('setpoint'), id: number, bus: number, deltaMw: number }),
    fc.record({ kind: fc.constant('subscribe'), bus: number, periodMs: number }),
  )
  const wrong: string[] = []
  fc.assert(
    fc.property(fc.array(request, { maxLength: 30 }), (requests) => {
      const world = new World()
      requests.forEach((request, i) => {
        world.ask(request as GridRequest, i * 15, i % 3)
      })
      world.runUntil(1000)
      const numbers = [0, 1, 2].flatMap((client) => world.replies(client).flatMap((reply) => Object.values(reply)))
      if (numbers.some((value) => typeof value === 'number' && !Number.isFinite(value))) wrong.push('not finite')
    }),
    { numRuns: 150 },
  )
  t.same(wrong, [])
})

t.test('options that make no sense are refused', async (t) => {
  const make = (options: Partial<GridNodeOptions>) => () =>
    new GridNode({ case: gridCase('ieee39'), disturbances: [], ...options })
  const step = { kind: 'loadStep', atMs: 1000, bus: 16, mw: 1 } as const
  t.throws(make({ bandHz: 0 }), GridError)
  t.throws(make({ maxStepsPerInput: 0 }), GridError)
  t.throws(make({ disturbances: [{ ...step, bus: 40 }] }), { message: /loadStep at bus 40: unknown bus/ })
  t.throws(make({ disturbances: [{ ...step, mw: Number.NaN }] }), { message: /mw must be a number/ })
  t.throws(make({ disturbances: [{ ...step, atMs: -1 }] }), { message: /atMs must be 0 or more/ })
  t.throws(make({ disturbances: [{ kind: 'trip', atMs: 0, bus: 16 }] }), { message: /no machine there/ })
  const all = gridCase('ieee39').machines.map(({ bus }) => ({ kind: 'trip', atMs: 0, bus }) as const)
  t.throws(make({ disturbances: all }), { message: /the last machine/ })
})
