/** Voltages of a run in virtual time, played again from what the grid recorded that was done to it. */
import type { LabPlan, LabRecord } from '../../src/experiment/index.ts'
import { GridModel, STEP_MS } from '../../src/grid/index.ts'

/** How far the voltages at the buses with devices lay outside a band about those of the power flow, pu. */
export type Outside = { readonly meanPu: number; readonly worstPu: number }

const EVERY_MS = 100

export function outsideOf(records: readonly LabRecord[], plan: LabPlan, bandPu: number): Outside {
  const model = new GridModel(plan.grid.case, plan.grid.model)
  const buses = new Set(plan.nodes.flatMap((node) => (node.kind === 'ied' ? [node.config.bus] : [])))
  const references = [...buses].map((bus) => ({ bus, referencePu: model.voltagePu(bus) }))
  const done = records
    .filter(({ name }) => name === 'grid.disturbance' || name === 'grid.shed' || name === 'grid.setpoint')
    .toSorted((a, b) => Number(a['atMs']) - Number(b['atMs']))
  let next = 0
  let sum = 0
  let samples = 0
  let worstPu = 0
  for (let tMs = 0; tMs < plan.durationS * 1000; tMs += STEP_MS) {
    for (; Number(done[next]?.['atMs'] ?? Number.POSITIVE_INFINITY) <= tMs; next++) apply(model, done[next])
    if (tMs % EVERY_MS === 0) {
      for (const { bus, referencePu } of references) {
        const pu = Math.max(0, Math.abs(model.voltagePu(bus) - referencePu) - bandPu)
        sum += pu
        samples++
        worstPu = Math.max(worstPu, pu)
      }
    }
    model.step()
  }
  return { meanPu: sum / samples, worstPu }
}

function apply(model: GridModel, record: LabRecord | undefined): void {
  if (record === undefined) return
  const bus = Number(record['bus'])
  if (record.name === 'grid.setpoint') model.setReference(bus, Number(record['deltaMw']))
  else if (record.name === 'grid.shed') model.addLoad(bus, -Number(record['mw']))
  else if (record['disturbance'] === 'trip') model.trip(bus)
  else model.addLoad(bus, Number(record['mw']))
}
