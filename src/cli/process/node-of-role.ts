import type { GatewayConfig } from '../../gateway/index.ts'
import type { IedConfig } from '../../ied/index.ts'
import type { MasterConfig } from '../../master/index.ts'
import { cryptoReady } from '../../protocol/index.ts'
import type { RtuConfig, StreamEffect, StreamInput } from '../../rtu/index.ts'
import type { Node, NodeEffect, NodeInput } from '../../runtime/contract.ts'
import type { PolicySpec } from '../../scheduler/index.ts'
import type { ProcessSpec } from '../lab/ipc.ts'

/** The master's configuration and what its policy is made from. */
export type MasterProcessConfig = { readonly master: MasterConfig; readonly scheduler: PolicySpec }

/** A node of the lab; an RTU may also have byte streams, for its 104/TCP face. */
export type ProcessNode = Node<NodeInput | StreamInput, NodeEffect | StreamEffect>

/** The node of a process, from its role and the plan's configuration. Loads only what the role needs. */
export async function createLabNode({ id, role, config, seed }: ProcessSpec): Promise<ProcessNode> {
  await cryptoReady
  switch (role) {
    case 'master': {
      const [{ Master }, { policyOf }, { randomStream }] = await Promise.all([
        import('../../master/index.ts'),
        import('../../scheduler/index.ts'),
        import('../../sim/index.ts'),
      ])
      const { master, scheduler } = config as MasterProcessConfig
      const random = randomStream(seed, `tasks ${id}`)
      return new Master(master, { policy: policyOf(scheduler), random: () => random.uniform() })
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
