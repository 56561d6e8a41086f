import type { GatewayConfig } from '../../gateway/index.ts'
import type { IedConfig } from '../../ied/index.ts'
import type { MasterConfig, MasterOrder } from '../../master/index.ts'
import { cryptoReady } from '../../protocol/index.ts'
import type { RtuConfig, StreamEffect, StreamInput } from '../../rtu/index.ts'
import type { Node, NodeEffect, NodeInput } from '../../runtime/contract.ts'
import type { Policy, PolicySpec, Solver } from '../../scheduler/index.ts'
import type { Control, ProcessSpec } from '../lab/ipc.ts'

/** The master's configuration and what its policy is made from. */
export type MasterProcessConfig = { readonly master: MasterConfig; readonly scheduler: PolicySpec }

/** A node of the lab; an RTU may also have byte streams, for its 104/TCP face, and a master takes orders. */
export type ProcessNode = Node<ProcessInput, NodeEffect | StreamEffect>
export type ProcessInput = NodeInput | StreamInput | MasterOrder

/** The node of a process, from its role and the plan's configuration. Loads only what the role needs. */
export async function createLabNode({ id, role, config, seed }: ProcessSpec): Promise<ProcessNode> {
  await cryptoReady
  switch (role) {
    case 'master': {
      const [{ Master }, { randomStream }] = await Promise.all([
        import('../../master/index.ts'),
        import('../../sim/index.ts'),
      ])
      const { master, scheduler } = config as MasterProcessConfig
      const random = randomStream(seed, `tasks ${id}`)
      const policy = await livePolicyOf(scheduler, master.seat)
      return new Master(master, { policy, random: () => random.uniform() })
    }
    case 'gateway':
      return new (await import('../../gateway/index.ts')).Gateway(config as GatewayConfig)
    case 'rtu':
      return new (await import('../../rtu/index.ts')).RtuNode(config as RtuConfig)
    case 'ied':
      return new (await import('../../ied/index.ts')).Ied(config as IedConfig)
    default:
      throw new Error(`${id}: ${role} is no node`)
  }
}

/** The policy of a live master: its solves end by the clock. */
async function livePolicyOf(spec: PolicySpec, seat: MasterConfig['seat']): Promise<Policy> {
  const { policyOf } = await import('../../scheduler/index.ts')
  const solver = spec.solver === 'highs' ? { solver: await highsSolver() } : {}
  return policyOf(spec, { now: () => performance.now(), ...solver, ...(seat && { seat }) })
}

async function highsSolver(): Promise<Solver> {
  const { loadHighs, rollingSolverOf } = await import('./highs.ts')
  return rollingSolverOf(await loadHighs())
}

/** The order to a master that a control stands for, or what is wrong with it. */
export async function orderOf(
  request: number,
  control: Control,
  { config }: ProcessSpec,
): Promise<MasterOrder | string> {
  switch (control.kind) {
    case 'setChains':
      return { kind: 'setChains', request, set: control.set }
    case 'setEnabled':
      return { kind: 'setEnabled', request, chain: control.chain, enabled: control.enabled }
    case 'setPolicy': {
      const { scheduler, master } = config as MasterProcessConfig
      const policy = control.policy as PolicySpec['policy']
      return { kind: 'setPolicy', request, policy: await livePolicyOf({ ...scheduler, policy }, master.seat) }
    }
    default:
      return `the master cannot ${control.kind}`
  }
}
