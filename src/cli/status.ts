import { type KnownLab, namespacesOf } from '../../netns/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import type { LabLink } from './netlab/control.ts'
import { labNamed, labsHere, linksOf } from './netlab/labs.ts'
import { wordsOf } from './netlab/law-words.ts'
import { columns } from './netlab/link-report.ts'
import { onePositional, parseOptions } from './options.ts'

export const command: Command = {
  summary: 'list the labs on this machine, or show one',
  help: `
usage: q104 status [LAB] [--json]

Lists the labs that are up (q104 up), running (q104 run) or left behind by a killed process; or shows the nodes of one, with
their processes, and its links with their laws.

Example: ./q104 status tiny`,

  async run(args) {
    const { values, positionals } = parseOptions(args, { json: { type: 'boolean', default: false } })
    const print = <T>(found: T, text: (found: T) => string): void =>
      void process.stdout.write(`${values.json ? JSON.stringify(found, null, 2) : text(found)}\n`)
    if (positionals.length === 0) print(labsHere().map(briefOf), briefText)
    else print(await wholeOf(labNamed(onePositional(positionals, 'LAB'))), wholeText)
    return 0
  },
}

type Brief = { readonly lab: string; readonly state: string; readonly isolation?: string; readonly scenario?: string }

type Whole = Brief & {
  readonly nodes: readonly {
    readonly id: string
    readonly namespace?: string
    readonly managementAddress?: string
    readonly pids: readonly number[]
  }[]
  readonly links: readonly {
    readonly link: number
    readonly name: string
    readonly addresses: readonly string[]
    readonly law: string
  }[]
}

function briefOf(known: KnownLab): Brief {
  const { lab } = known
  switch (known.kind) {
    case 'running':
      return { lab, state: `running (process ${known.pid})` }
    case 'standing': {
      const { plan, scenario, upWallMs } = known.standing
      const since = new Date(upWallMs).toISOString().slice(0, 19)
      return { lab, state: `up since ${since}Z`, isolation: plan.isolation, scenario }
    }
    case 'leftover':
      return { lab, state: `left behind; q104 down ${lab} clears it` }
  }
}

async function wholeOf(known: KnownLab): Promise<Whole> {
  const namespaces = namespacesOf(known)
  const plan = known.kind === 'standing' ? known.standing.plan : undefined
  const links = known.kind === 'leftover' ? [] : await linksIfAsked(known)
  const planned = plan?.nodes.map(({ id, namespace, managementAddress }) => ({
    ...{ id, managementAddress, pids: namespaces.get(namespace ?? '') ?? [] },
    ...(namespace !== undefined && { namespace }),
  }))
  const addressesOf = new Map(plan?.links.map(({ link, ends }) => [link, ends.map(({ address }) => address)]))
  return {
    ...briefOf(known),
    ...(links === undefined && { state: `${briefOf(known).state}, starting or ending` }),
    nodes:
      planned ??
      [...namespaces].map(([namespace, pids]) => ({
        id: namespace.slice(namespace.lastIndexOf('-') + 1),
        namespace,
        pids,
      })),
    links: (links ?? []).map(({ link, name, law }) => ({
      link,
      name,
      addresses: addressesOf.get(link) ?? [],
      law: wordsOf(law),
    })),
  }
}

/** Undefined while a run cannot be asked. */
async function linksIfAsked(known: KnownLab): Promise<readonly LabLink[] | undefined> {
  try {
    return await linksOf(known)
  } catch (error) {
    if (error instanceof CliError) return undefined
    throw error
  }
}

function briefText(labs: readonly Brief[]): string {
  if (labs.length === 0) return 'there is no lab here; q104 up SCENARIO makes one'
  return columns(labs.map(({ lab, state, isolation = '', scenario = '' }) => [lab, state, isolation, scenario])).join(
    '\n',
  )
}

function wholeText({ nodes, links, ...brief }: Whole): string {
  const nodeRows = nodes.map(({ id, namespace = '', managementAddress = '', pids }) => [
    ...['', id, namespace, managementAddress],
    pids.length === 0 ? '' : `processes ${pids.join(' ')}`,
  ])
  const linkRows = links.map(({ link, name, addresses, law }) => ['', String(link), name, addresses.join(' - '), law])
  return [
    briefText([brief]),
    ...(nodes.length === 0 ? [] : ['nodes', ...columns(nodeRows)]),
    ...(links.length === 0 ? [] : ['links', ...columns(linkRows)]),
  ].join('\n')
}
