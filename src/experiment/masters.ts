/** Who runs what in a lab with several control centres: stations by their first gateway, AGC by the master that leads. */
import type { Scenario, ScenarioChain } from './scenario-schema.ts'

/** Ids of all masters; the first leads. */
export function mastersOf({ topology }: Scenario): readonly string[] {
  const { master, areaMasters } = topology.nodes
  return [master.id, ...areaMasters.map(({ id }) => id)]
}

/** Originator address of a master (IEC 60870-5-101, 7.2.3), from 1; 0, which means none, where there is only one master. */
export function originatorOf(scenario: Scenario, master: string): number {
  const masters = mastersOf(scenario)
  return masters.length === 1 ? 0 : masters.indexOf(master) + 1
}

/** The master that has a station: that of the first gateway it is linked to, in the order of the file. */
export function ownerOf({ topology }: Scenario, rtu: string): string {
  const { master, areaMasters } = topology.nodes
  for (const { between } of topology.links) {
    if (!between.includes(rtu)) continue
    const area = areaMasters.find(({ gateways }) => gateways.some((gateway) => between.includes(gateway)))
    if (area !== undefined) return area.id
    // Its first gateway is the leading master's.
    if (topology.nodes.gateways.some(({ id }) => between.includes(id))) return master.id
  }
  return master.id
}

/** The master that gives the commands of a task to a station. */
export function masterFor(scenario: Scenario, taskType: ScenarioChain['taskType'], rtu: string): string {
  return taskType === 'agc' ? scenario.topology.nodes.master.id : ownerOf(scenario, rtu)
}
