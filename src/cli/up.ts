import {
  detectIsolation,
  IsolationError,
  type LabPlan as NetPlan,
  planLab,
  type Stood,
  standLab,
} from '../../netns/index.ts'
import { planOf } from '../experiment/index.ts'
import { CliError } from './errors.ts'
import { SERVICES } from './lab/launches.ts'
import type { Command } from './main.ts'
import { asBadInput } from './netlab/labs.ts'
import { onePositional, parseChoice, parseOptions } from './options.ts'
import { loadScenario } from './scenario-file.ts'

const OPTIONS = {
  lab: { type: 'string' },
  isolation: { type: 'string' },
  routed: { type: 'boolean', default: false },
} as const

const ISOLATIONS = ['netns', 'userns', 'loopback'] as const

export const command: Command = {
  summary: 'build the network of a scenario and keep it, without running anything in it',
  help: `
usage: q104 up SCENARIO [options]

Builds the scenario's network (a namespace a node, a veth pair a link, the links' laws by netem) and leaves it up: look at it
with q104 status, run commands in it with q104 exec, bend links with q104 link, end it with q104 down. A lab that is up
already is kept, its links set back to the scenario's laws. What a killed lab of this name left is cleared first.

  --lab NAME         name of the lab; several labs live side by side (default: the scenario's name)
  --isolation KIND   netns (root), userns (no root) or loopback; default: the strongest that works here
  --routed           static routes and forwarding, so that every node reaches every link; default: neighbours only

Example: ./q104 up scenarios/tiny.yaml && ./q104 exec tiny/cc -- ip -brief address`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const file = onePositional(positionals, 'SCENARIO')
    const scenario = await loadScenario(file)
    const asked = values.isolation === undefined ? undefined : parseChoice(values.isolation, ISOLATIONS, '--isolation')
    const { nodes, links } = planOf(scenario)
    const services = SERVICES.map((id, index) => ({ id, number: nodes.length + index + 1 }))
    const net = { lab: values.lab ?? labNameOf(scenario.name), nodes: [...nodes, ...services], links }
    const { isolation } = await detectIsolation(asked).catch((error) => {
      if (error instanceof IsolationError) throw new CliError(error.message)
      throw error
    })
    const laws = new Map(links.map(({ link, law }) => [link, law]))
    const stood = await asBadInput(async () => {
      const plan = planLab(net, isolation, { routed: values.routed })
      return standLab(plan, file, laws)
    })
    process.stdout.write(`${summary(stood)}\n`)
    return 0
  },
}

function summary({ standing: { plan }, wasUp, isBent }: Stood): string {
  return [
    `lab ${plan.lab} is up${wasUp ? ' (it was already)' : ''}: ${sizeOf(plan)}`,
    isBent ? 'links are under the laws of the scenario' : `links have no law: ${whyNot(plan)}`,
    `q104 status ${plan.lab} shows it, q104 down ${plan.lab} ends it`,
  ].join('\n')
}

function sizeOf({ isolation, nodes, links }: NetPlan): string {
  return `isolation ${isolation}, ${nodes.length} nodes, ${links.length} links`
}

function whyNot({ isolation }: NetPlan): string {
  return isolation === 'loopback' ? 'loopback isolation has no netem' : 'the kernel has no netem (module sch_netem)'
}

/** A scenario's name as a lab name: lower case, at most 20 characters. */
function labNameOf(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 20)
}
