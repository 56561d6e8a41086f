/** Which lab, node or link a command means. */
import {
  type KnownLab,
  knownLabs,
  LabBusyError,
  LabError,
  PlanError,
  type StandingLab,
  StateDirError,
} from '../../../netns/index.ts'
import { CLEAR } from '../../sim/index.ts'
import { CliError } from '../errors.ts'
import { askLab, type LabLink } from './control.ts'

/** All labs on this machine. @throws CliError if the folder of their locks cannot be used */
export function labsHere(): readonly KnownLab[] {
  try {
    return knownLabs()
  } catch (error) {
    if (error instanceof StateDirError) throw new CliError(error.message)
    throw error
  }
}

/**
 * The lab of this name, or the only one there is.
 * @throws CliError if there is no such lab, or it is not said which one
 */
export function labNamed(name: string | undefined): KnownLab {
  const labs = labsHere().filter(({ lab, kind }) => (name === undefined ? kind !== 'leftover' : lab === name))
  const [found, ...more] = labs
  if (found !== undefined && more.length === 0) return found
  if (name !== undefined) throw new CliError(`there is no lab ${name} here${othersOf(name)}`)
  if (found === undefined) throw new CliError('there is no lab here; q104 up SCENARIO makes one')
  throw new CliError(`which lab? --lab ${labs.map(({ lab }) => lab).join(', --lab ')}`)
}

function othersOf(name: string): string {
  const others = labsHere().filter(({ lab }) => lab !== name)
  return others.length === 0 ? '; q104 up SCENARIO makes one' : `; labs: ${others.map(({ lab }) => lab).join(', ')}`
}

/** Links of a lab that is up or running, and their laws. */
export async function linksOf(known: KnownLab): Promise<readonly LabLink[]> {
  switch (known.kind) {
    case 'running':
      return (await askLab(known.lab, { kind: 'links' })).links
    case 'standing':
      return standingLinks(known.standing)
    case 'leftover':
      throw new CliError(`lab ${known.lab} is not up; q104 up makes it anew, q104 down ${known.lab} clears it`)
  }
}

export function standingLinks({ plan, laws, usualLaws }: StandingLab): readonly LabLink[] {
  const [lawOf, usualOf] = [new Map(laws), new Map(usualLaws)]
  return plan.links.map(({ link, name, ends: [first, second] }) => {
    const ends = [first.node, second.node] as const
    return { link, name, ends, usualLaw: usualOf.get(link) ?? CLEAR, law: lawOf.get(link) ?? CLEAR }
  })
}

/** The links that `text` names: two node ids joined by `-` in either order, a link's number, or `all`. */
export function linksNamed(links: readonly LabLink[], text: string): readonly LabLink[] {
  if (text === 'all') return links
  const found = links.filter(({ link, name, ends: [first, second] }) =>
    [name, `${first}-${second}`, `${second}-${first}`, String(link)].includes(text),
  )
  if (found.length === 1) return found
  const list = (some: readonly LabLink[]): string => some.map(({ link, name }) => `${name} (${link})`).join(', ')
  if (found.length > 1) throw new CliError(`several links are '${text}', say which by its number: ${list(found)}`)
  throw new CliError(`there is no link '${text}'; links: ${list(links)}`)
}

/** Does something with a lab's network; what is refused because of what was asked for is a CliError. */
export async function asBadInput<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const isBadInput = [LabBusyError, LabError, PlanError, RangeError, StateDirError].some(
      (kind) => error instanceof kind,
    )
    if (isBadInput && error instanceof Error) throw new CliError(error.message)
    throw error
  }
}
