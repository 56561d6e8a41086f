import { randomBytes } from 'node:crypto'
import { checkedLaw, type LinkLaw } from '../src/sim/index.ts'
import { type Cleared, clearLab } from './clear-lab.ts'
import { LabError } from './errors.ts'
import { type Holder, startHolder } from './holder.ts'
import { hasNetem } from './isolation.ts'
import { startJanitor } from './janitor.ts'
import { LabNetwork } from './lab.ts'
import { acquireLab, type LabLock } from './lock.ts'
import { accessOf, isUp, type StandingLab } from './lock-record.ts'
import { type LabPlan, PlanError } from './plan.ts'

export type Laws = ReadonlyMap<number, LinkLaw>

/** What `standLab` did. */
export type Stood = {
  readonly standing: StandingLab
  /** The network was there already, and only its laws were set. */
  readonly wasUp: boolean
  /** Its links have laws: there are namespaces, and the kernel has netem. */
  readonly isBent: boolean
}

/**
 * Makes a lab that stands with no process of ours, its links under the given laws. One of this name that stands already, with
 * the same network, is kept; what a killed one left is cleared first.
 * @throws LabBusyError, PlanError if the lab stands with another network, LabError if the kernel refuses a step.
 */
export async function standLab(plan: LabPlan, scenario: string, laws: Laws): Promise<Stood> {
  const isBent = await canBend(plan)
  const lock = await acquireLab(plan.lab, 'take')
  const { standing: found } = lock
  if (found !== undefined && isUp(found)) {
    if (JSON.stringify(found.plan) !== JSON.stringify(plan)) {
      lock.leave(found)
      throw new PlanError(`lab ${plan.lab} is up with another network; take it down first: q104 down ${plan.lab}`)
    }
    const standing = { ...found, scenario, usualLaws: [...laws], laws: isBent ? [...laws] : [] }
    try {
      if (isBent) await networkOf(found).setLaws(laws)
    } finally {
      lock.leave(standing)
    }
    return { standing, wasUp: true, isBent }
  }
  try {
    if (found !== undefined) await clearLab(plan.lab, found)
    return { standing: await build({ plan, scenario, laws, isBent }, lock), wasUp: false, isBent }
  } catch (error) {
    lock.release()
    throw error
  }
}

type Wanted = {
  readonly plan: LabPlan
  readonly scenario: string
  readonly laws: Laws
  readonly isBent: boolean
}

/** If we are killed meanwhile, the janitor takes down what is built here, and a holder ends by itself. */
async function build({ plan, scenario, laws, isBent }: Wanted, lock: LabLock): Promise<StandingLab> {
  const id = randomBytes(8).toString('hex')
  const janitor = await startJanitor(plan, lock)
  let holder: Holder | undefined
  let network: LabNetwork | undefined
  try {
    if (plan.isolation === 'userns') holder = await startHolder(plan.lab, id)
    const identity = holder && { holder: { pid: holder.pid, startTicks: holder.startTicks } }
    const standing: StandingLab = {
      ...{ id, plan, scenario, upWallMs: Date.now(), usualLaws: [...laws], laws: isBent ? [...laws] : [] },
      ...identity,
    }
    network = await LabNetwork.up(plan, accessOf(standing))
    if (isBent) await network.setLaws(laws)
    await janitor.dismiss()
    lock.leave(standing)
    holder?.stay()
    return standing
  } catch (error) {
    await network?.down()
    holder?.end()
    await janitor.dismiss()
    throw error
  }
}

/**
 * Ends every process of a lab that stands or was left behind, deletes its namespaces and forgets it.
 * @throws LabBusyError if a live process runs it.
 */
export async function takeDown(lab: string): Promise<Cleared> {
  const lock = await acquireLab(lab, 'take')
  const cleared = await clearLab(lab, lock.standing)
  lock.release()
  return cleared
}

/**
 * Changes laws of a standing lab.
 * @param change is given the laws as they are, and as the scenario has them, and answers those to be set
 * @throws LabError if the lab does not stand, or its links cannot be bent here. RangeError for a law out of range.
 */
export async function changeLaws(lab: string, change: (laws: Laws, usual: Laws) => Laws): Promise<void> {
  const lock = await acquireLab(lab, 'take')
  const { standing } = lock
  if (standing === undefined) {
    lock.release()
    throw new LabError(`lab ${lab} is not up`)
  }
  let laws: Laws = new Map(standing.laws)
  try {
    if (!isUp(standing)) throw new LabError(`lab ${lab} is up no more; q104 up makes it anew`)
    if (standing.plan.isolation === 'loopback') throw new LabError('laws need network namespaces; this lab has none')
    if (!(await hasNetem())) throw new LabError('the kernel has no netem (module sch_netem): links cannot be bent here')
    const changed = change(laws, new Map(standing.usualLaws))
    for (const law of changed.values()) checkedLaw(law)
    await networkOf(standing).setLaws(changed)
    laws = new Map([...laws, ...changed])
  } finally {
    lock.leave({ ...standing, laws: [...laws] })
  }
}

/** The network of a lab that stands. */
export function networkOf(standing: StandingLab): LabNetwork {
  return LabNetwork.attach(standing.plan, accessOf(standing))
}

async function canBend({ isolation }: LabPlan): Promise<boolean> {
  return isolation !== 'loopback' && (await hasNetem())
}
