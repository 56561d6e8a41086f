/** What scenario and plan need to know of a grid case: which buses there are, their load, their machine. */
import { gridCase } from '../grid/index.ts'
import type { Scenario } from './scenario-schema.ts'

export type BusFacts = {
  readonly loadMw: number
  readonly machine: boolean
  /** Its set-point can be changed. */
  readonly governor: boolean
  /** H x rating of the machine, MW s; 0 without one. The weight of its speed in the centre of inertia. */
  readonly inertiaMws: number
}

export type CaseFacts = { readonly f0Hz: number; readonly buses: ReadonlyMap<number, BusFacts> }

/** Facts of a case of the schema. */
export function caseFacts(name: Scenario['grid']['case']): CaseFacts {
  const { f0Hz, buses, machines } = gridCase(name)
  const machineAt = new Map(machines.map((machine) => [machine.bus, machine]))
  return {
    f0Hz,
    buses: new Map(
      buses.map(({ bus, loadMw }) => {
        const machine = machineAt.get(bus)
        const inertiaMws = machine === undefined ? 0 : machine.hS * machine.mBaseMva
        return [
          bus,
          { loadMw, machine: machine !== undefined, governor: (machine?.governor ?? null) !== null, inertiaMws },
        ]
      }),
    ),
  }
}
