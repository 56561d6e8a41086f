/** The key server's part of a plan: the pool, the QKD links that fill it, and what happens to them. */
import type { Disturbance } from '../sim/index.ts'
import type { PlanKeyServer, PlanLink } from './plan-types.ts'
import type { Scenario } from './scenario-schema.ts'

/** Key comes in slots of 4 bytes. */
const SLOT_BITS = 32

/** Options of key server and link models; the links with `keys: local` have no model. */
export function keyServerOf(scenario: Scenario, links: readonly PlanLink[]): PlanKeyServer {
  const { pool, thresholds, expiryS, linkModel, initialBits } = scenario.keys
  const qkd = links.filter(({ keys }) => keys === 'pool')
  const wholeBits = Math.floor(initialBits ?? thresholds.capBits / 2)
  const { breakDurationS, ...model } = linkModel
  const byId = new Map(scenario.topology.links.map((spec) => [spec.id ?? spec.between.join('-'), spec]))
  return {
    pool: {
      poolKind: pool,
      links: links.map(({ link, ends, keys }) => ({ link, ends, keys })),
      capBits: Math.floor(thresholds.capBits),
      safeBits: Math.floor(thresholds.safeBits),
      thBits: Math.floor(thresholds.thBits),
      expiryMs: expiryS * 1000,
    },
    qkdLinks: qkd.map(({ link, id, lengthKm, law }) => {
      const rateModel = byId.get(id)?.rateModel
      return {
        link,
        lengthKm,
        ...model,
        ...(rateModel === undefined ? {} : { rateModel }),
        breakDurationS: [breakDurationS[0], breakDurationS[1]] as const,
        delayMs: law.delayMs,
        disturbances: disturbancesOf(scenario, id),
      }
    }),
    initial: qkd.map(({ link }) => ({ link, bits: Math.floor(wholeBits / qkd.length / SLOT_BITS) * SLOT_BITS })),
  }
}

function disturbancesOf({ faults }: Scenario, id: string): readonly Disturbance[] {
  return faults.filter(({ link }) => link === id).map(disturbanceOf)
}

function disturbanceOf(fault: Scenario['faults'][number]): Disturbance {
  const span = { fromMs: fault.atS * 1000, toMs: (fault.atS + fault.forS) * 1000 }
  switch (fault.kind) {
    case 'cutLink':
      return { ...span, kind: 'cut' }
    case 'emi':
      return { ...span, kind: 'emi', errorRatio: fault.errorRatio }
    case 'attenuation':
      return { ...span, kind: 'attenuation', addedDb: fault.addedDb }
  }
}
