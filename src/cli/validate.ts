import type { Command } from './main.ts'
import { onePositional, parseOptions } from './options.ts'
import { loadScenario } from './scenario-file.ts'

export const command: Command = {
  summary: 'check a scenario file',
  help: `
usage: q104 validate FILE

Checks a scenario file and names every problem with file, line and column. Exit code 0 if there is none, 2 otherwise.

Example: ./q104 validate scenarios/ieee39.yaml`,
  async run(args) {
    const { positionals } = parseOptions(args, {})
    const file = onePositional(positionals, 'FILE')
    const { topology, chains } = await loadScenario(file)
    const { gateways, rtus, ieds } = topology.nodes
    const counts = `${gateways.length} gateways, ${rtus.length} RTUs, ${ieds.length} IEDs, ${topology.links.length} links`
    process.stdout.write(`${file}: valid (${counts}, chains ${chains === 'auto' ? 'auto' : chains.length})\n`)
    return 0
  },
}
