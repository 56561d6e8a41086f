/** Changes of a scenario that studies make. */
import type { Scenario } from '../scenario-schema.ts'

/** Another stock, its thresholds in proportion. */
export function withStock(scenario: Scenario, capBits: number): Scenario {
  const { thresholds, initialBits } = scenario.keys
  const scale = capBits / thresholds.capBits
  const { safeBits, thBits } = thresholds
  return {
    ...scenario,
    keys: {
      ...scenario.keys,
      thresholds: { capBits, safeBits: safeBits * scale, thBits: thBits * scale },
      ...(initialBits !== undefined && { initialBits: initialBits * scale }),
    },
  }
}

/** The key that every QKD link makes, `ratio` times as much; links with a model of their own keep it. */
export function withKeyRate(scenario: Scenario, ratio: number): Scenario {
  const { rateModel, ...rest } = scenario.keys.linkModel
  if (rateModel.kind !== 'bb84') return scenario
  const effectiveRatePerS = rateModel.effectiveRatePerS * ratio
  return {
    ...scenario,
    keys: { ...scenario.keys, linkModel: { ...rest, rateModel: { ...rateModel, effectiveRatePerS } } },
  }
}

/** Another rate of breaks of every QKD link, 1/s. */
export function withBreaks(scenario: Scenario, breakRatePerS: number): Scenario {
  return { ...scenario, keys: { ...scenario.keys, linkModel: { ...scenario.keys.linkModel, breakRatePerS } } }
}

/** Other lengths of the links that draw on the pool; their devices stay as they are, so longer fibres make less key. */
export function withLength(scenario: Scenario, lengthKm: number): Scenario {
  const links = scenario.topology.links.map((link) => (link.keys === 'pool' ? { ...link, lengthKm } : link))
  return { ...scenario, topology: { ...scenario.topology, links } }
}

/** All that is sent by the clock or at random, `factor` times as often. AGC keeps its period, which is part of the control. */
export function withLoad(scenario: Scenario, factor: number): Scenario {
  const { telemetry, pmu, setpoints } = scenario.tasks
  return {
    ...scenario,
    tasks: {
      ...scenario.tasks,
      telemetry: { ...telemetry, periodS: telemetry.periodS / factor },
      pmu: { ...pmu, periodS: pmu.periodS / factor },
      setpoints: { ...setpoints, ratePerS: setpoints.ratePerS * factor },
    },
  }
}
