import t from 'tap'
import type { GridCase, MachineModel } from '../../src/grid/index.ts'
import { GridError, GridModel, gridCase, STEP_MS, solvePowerFlow } from '../../src/grid/index.ts'
import { expected, SHED_BUSES, trajectory } from './fixture-files.ts'

const largest = (values: Iterable<number>): number => Math.max(0, ...[...values].map(Math.abs))

t.test('power flow', async (t) => {
  for (const name of ['ieee39', 'ieee118'] as const) {
    t.test(`${name} solves to the reference solution from a flat start`, async (t) => {
      const flow = solvePowerFlow(gridCase(name))
      const { vmPu, vaDeg, slackMw, lossesMw, machineMvar } = expected[name]
      const slack = gridCase(name).machines.findIndex((m) => m.bus === gridCase(name).slackBus)
      t.ok(flow.maxMismatchPu < 1e-12, 'mismatch below 1e-12 pu')
      t.ok(largest(vmPu.map((v, i) => v - (flow.vmPu[i] ?? Number.NaN))) < 1e-8, 'magnitudes within 1e-8 pu')
      const angles = vaDeg.map((a, i) => a - ((flow.vaRad[i] ?? Number.NaN) * 180) / Math.PI)
      t.ok(largest(angles) < 1e-8, 'angles within 1e-8 degree')
      t.ok(Math.abs((flow.machineMw[slack] ?? Number.NaN) - slackMw) < 1e-6, 'slack power')
      t.ok(Math.abs(flow.lossesMw - lossesMw) < 1e-6, 'losses')
      t.ok(largest(machineMvar.map((q, i) => q - (flow.machineMvar[i] ?? Number.NaN))) < 1e-6, 'reactive power')
    })
  }

  t.test('ieee39 agrees with the solution printed in case39.m to its digits', async (t) => {
    const flow = solvePowerFlow(gridCase('ieee39'))
    const { vmPublishedPu = [], vaPublishedDeg = [] } = expected.ieee39
    t.equal(vmPublishedPu.length, 39)
    t.ok(largest(vmPublishedPu.map((v, i) => v - (flow.vmPu[i] ?? Number.NaN))) < 1e-7)
    t.ok(largest(vaPublishedDeg.map((a, i) => a - ((flow.vaRad[i] ?? Number.NaN) * 180) / Math.PI)) < 1e-6)
  })

  t.test('a case that cannot be solved or makes no sense is refused with its name', async (t) => {
    const grid = gridCase('ieee39')
    const heavier = grid.buses.map((bus) => ({ ...bus, loadMw: bus.loadMw * 10 }))
    t.throws(() => solvePowerFlow({ ...grid, buses: heavier }), GridError)
    t.throws(() => solvePowerFlow({ ...grid, branches: grid.branches.slice(1, 5) }), GridError)
    t.throws(() => solvePowerFlow({ ...grid, slackBus: 1 }), { message: /ieee39: no machine at the slack bus 1/ })
    t.throws(() => solvePowerFlow({ ...grid, buses: grid.buses.slice(1) }), { message: /unknown bus 1/ })
    t.throws(() => solvePowerFlow({ ...grid, buses: [...grid.buses, ...grid.buses] }), { message: /share a number/ })
    t.throws(() => gridCase('ieee14'), { message: /unknown case "ieee14", known are ieee39, ieee118/ })
  })
})

t.test('the 118-bus zones cover each bus once', async (t) => {
  const grid = gridCase('ieee118')
  const zoned = Object.values(grid.zones ?? {}).flat()
  t.same(
    zoned.sort((a, b) => a - b),
    grid.buses.map((bus) => bus.bus),
  )
})

type Run = {
  readonly csv: string
  readonly grid: GridCase
  readonly model: MachineModel
  readonly loadMw: Readonly<Record<number, number>>
  readonly shedAtStep?: number
  readonly tolerance: { readonly coi: number; readonly w: number; readonly v: number }
}

const TIGHT = { coi: 1e-6, w: 1e-5, v: 1e-6 }
/** A valve at its limit makes the derivative jump within a step, which a fixed step cannot resolve as well. */
const AT_LIMIT = { coi: 1e-5, w: 2e-5, v: 5e-6 }

t.test('trajectories', async (t) => {
  const grid = gridCase('ieee39')
  const step400 = { grid, model: 'twoaxis', loadMw: { 16: 400 } } as const
  const runs: readonly Run[] = [
    { csv: 'ieee39-twoaxis-load16-100mw', grid, model: 'twoaxis', loadMw: { 16: 100 }, tolerance: TIGHT },
    { csv: 'ieee39-twoaxis-load16-400mw', ...step400, tolerance: AT_LIMIT },
    { csv: 'ieee39-twoaxis-load16-400mw-shed-fast', ...step400, shedAtStep: 160, tolerance: TIGHT },
    { csv: 'ieee39-twoaxis-load16-400mw-shed-late', ...step400, shedAtStep: 900, tolerance: AT_LIMIT },
    { csv: 'ieee39-classical-load16-100mw', grid, model: 'classical', loadMw: { 16: 100 }, tolerance: TIGHT },
    {
      csv: 'ieee118-twoaxis-load59-200mw',
      grid: gridCase('ieee118'),
      model: 'twoaxis',
      loadMw: { 59: 200 },
      tolerance: TIGHT,
    },
  ]
  for (const run of runs) {
    t.test(`${run.csv} follows the reference`, async (t) => {
      const worst = deviations(run)
      t.comment(JSON.stringify(worst))
      t.ok(worst.coi < run.tolerance.coi, `centre of inertia within ${run.tolerance.coi} Hz`)
      t.ok(worst.w < run.tolerance.w, `speeds within ${run.tolerance.w} Hz`)
      t.ok(worst.v < run.tolerance.v, `voltages within ${run.tolerance.v} pu`)
    })
  }
})

/** Integrates the run from t = 0 and gives the largest differences to the reference by kind of column. */
function deviations(run: Run): { coi: number; w: number; v: number } {
  const { columns, rows } = trajectory(run.csv)
  const model = new GridModel(run.grid, run.model)
  const worst = { coi: 0, w: 0, v: 0 }
  let step = 0
  for (const row of rows) {
    const until = Math.round(((row[0] ?? 0) * 1000) / STEP_MS)
    for (; step < until; ) {
      model.step()
      step++
      if (step === 100) for (const [bus, mw] of Object.entries(run.loadMw)) model.addLoad(Number(bus), mw)
      if (step === run.shedAtStep) for (const bus of SHED_BUSES) model.addLoad(bus, -42.5)
    }
    columns.forEach((column, i) => {
      if (column === 't') return
      const kind = column === 'coi' ? 'coi' : column.startsWith('w') ? 'w' : 'v'
      const bus = Number(column.slice(1))
      const value = { coi: () => model.coiHz(), w: () => model.frequencyHz(bus), v: () => model.voltagePu(bus) }[kind]()
      worst[kind] = Math.max(worst[kind], Math.abs(value - (row[i] ?? Number.NaN)))
    })
  }
  return worst
}

t.test('the model', async (t) => {
  const grid = gridCase('ieee39')
  const run = (model: GridModel, steps: number): void => {
    for (let i = 0; i < steps; i++) model.step()
  }

  t.test('rests in the steady state while nothing happens', async (t) => {
    const model = new GridModel(grid)
    run(model, 1000)
    t.ok(model.worstHz() < 1e-9, `${model.worstHz()} Hz`)
    t.ok(largest(grid.machines.slice(2).map((m) => model.powerMw(m.bus) - m.pMw)) < 1e-6)
  })

  t.test('loses 0.255 Hz with the 252 MW machine at bus 100 of the 118-bus system', async (t) => {
    const model = new GridModel(gridCase('ieee118'))
    model.trip(100)
    let worst = 0
    let crossed = 0
    for (let step = 1; step <= 1000; step++) {
      model.step()
      worst = Math.max(worst, Math.abs(model.coiHz()))
      if (crossed === 0 && worst > 0.05) crossed = step
    }
    t.ok(Math.abs(worst - 0.255) < 0.0005, `${worst} Hz`)
    t.equal(crossed, 22, 'leaves the band after 0.22 s')
    t.equal(model.powerMw(100), 0)
    t.notOk(model.hasMachine(100))
    t.ok(Math.abs(model.frequencyHz(100) - model.coiHz()) < 0.02, 'the bus takes the frequency of its neighbours')
  })

  t.test('gives every bus a frequency between the slowest and the fastest machine', async (t) => {
    const model = new GridModel(grid)
    model.addLoad(16, 400)
    const outside: string[] = []
    for (let step = 0; step < 300; step += 10) {
      run(model, 10)
      const speeds = grid.machines.map((m) => model.frequencyHz(m.bus))
      for (const { bus } of grid.buses) {
        const f = model.frequencyHz(bus)
        if (!(f >= Math.min(...speeds) - 1e-12 && f <= Math.max(...speeds) + 1e-12)) outside.push(`${bus}: ${f}`)
      }
    }
    t.same(outside, [])
  })

  t.test('raises the frequency by a load reference set point, in proportion to the droop', async (t) => {
    const model = new GridModel(grid)
    for (const bus of [30, 33, 34, 36]) model.setReference(bus, 50)
    run(model, 12_000)
    t.ok(model.coiHz() > 0.07 && model.coiHz() < 0.1, `200 MW over 2652 MW/Hz, not ${model.coiHz()} Hz`)
    for (const bus of [30, 33, 34, 36]) model.setReference(bus, 0)
    run(model, 12_000)
    t.ok(Math.abs(model.coiHz()) < 1e-4, `back at ${model.coiHz()} Hz`)
  })

  t.test('comes back to where it was after a thousand load changes undone', async (t) => {
    const model = new GridModel(grid)
    const before = grid.buses.map(({ bus }) => model.voltagePu(bus))
    const changes = Array.from({ length: 500 }, (_, i) => ({ bus: (i % 39) + 1, mw: ((i * 37) % 200) - 100 }))
    for (const { bus, mw } of changes) model.addLoad(bus, mw)
    for (const { bus, mw } of changes) model.addLoad(bus, -mw)
    t.ok(largest(grid.buses.map(({ bus }, i) => model.voltagePu(bus) - (before[i] ?? Number.NaN))) < 1e-10)
    t.ok(largest(grid.buses.map(({ bus, loadMw }) => model.loadMw(bus) - loadMw)) < 1e-9)
  })

  t.test('stops where its assumptions end instead of giving numbers that mean nothing', async (t) => {
    const model = new GridModel(grid)
    model.addLoad(16, 5000)
    run(model, 3000)
    t.ok(model.collapsed)
    t.ok(Number.isFinite(model.coiHz()))
  })

  t.test('refuses unknown buses, buses without a machine and the loss of the last machine', async (t) => {
    const model = new GridModel(grid)
    t.throws(() => model.addLoad(40, 1), { message: 'unknown bus 40' })
    t.throws(() => model.trip(16), { message: 'no machine at bus 16' })
    for (const { bus } of grid.machines.slice(1)) model.trip(bus)
    model.trip(39)
    t.throws(() => model.trip(30), { message: /last machine/ })
  })
})
