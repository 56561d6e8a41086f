/** The network of a lab that is up or running, as a capture must know it. */
import { existsSync } from 'node:fs'
import {
  type Isolation,
  type KnownLab,
  type LabPlan,
  namespaceName,
  namespacesOf,
  planLab,
} from '../../../netns/index.ts'
import { linksOf } from '../netlab/labs.ts'

export type LabNetworkPlan = {
  readonly plan: LabPlan
  /** The process in whose user namespace the lab's namespaces are; undefined when they are here. */
  readonly holderPid: number | undefined
}

/** Where `ip netns` keeps the namespaces of this machine. */
const NETNS_DIR = '/run/netns'

/** @throws CliError if the lab is neither up nor running. */
export async function networkPlanOf(known: KnownLab): Promise<LabNetworkPlan> {
  if (known.kind === 'standing') {
    const { plan, holder } = known.standing
    return { plan, holderPid: holder?.pid }
  }
  const links = await linksOf(known)
  const ids = [...new Set(links.flatMap(({ ends }) => ends))]
  const isolation = isolationOf(known, ids)
  // Names and addresses of the links follow from their numbers; those of the management plane are not needed.
  const nodes = ids.map((id, index) => ({ id, number: index + 1 }))
  const plan = planLab({ lab: known.lab, nodes, links }, isolation)
  return { plan, holderPid: isolation === 'userns' && known.kind === 'running' ? known.pid : undefined }
}

function isolationOf(known: KnownLab, ids: readonly string[]): Isolation {
  if (namespacesOf(known).size === 0) return 'loopback'
  const isHere = ids.some((id) => existsSync(`${NETNS_DIR}/${namespaceName(known.lab, id)}`))
  return isHere ? 'netns' : 'userns'
}
