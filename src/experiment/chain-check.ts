/** Checks of chains written out in the scenario: their paths must be walks over links, from the master to the right IED. */
import { mastersOf } from './masters.ts'
import type { Subject } from './scenario-check.ts'
import type { ScenarioChain } from './scenario-schema.ts'
import { type Path, type Problem, quote } from './scenario-source.ts'
import { pairOf } from './topology.ts'

/** Every problem of the chains; none for `chains: auto`. */
export function checkChains(subject: Subject): readonly Problem[] {
  if (subject.scenario.chains === 'auto') return []
  const targets = new Set<string>()
  return subject.scenario.chains.flatMap((chain, index) => {
    const path = ['chains', index]
    const alternatives = chain.alternatives.flatMap((walk, other) =>
      checkWalk(subject, walk, { path: [...path, 'alternatives', other], end: chain.path.at(-1) }),
    )
    const target = chain.path.at(-1) ?? ''
    const twice = targets.has(target)
    targets.add(target)
    const repeated = {
      path: [...path, 'path'],
      message: 'second chain to one IED',
      found: quote(target),
      expected: 'one chain an IED',
    }
    return [
      ...checkWalk(subject, chain.path, { path: [...path, 'path'], end: undefined }),
      ...alternatives,
      ...checkTarget(subject, chain, path),
      ...(twice ? [repeated] : []),
    ]
  })
}

type WalkPlace = { readonly path: Path /** The IED an alternative must end at. */; readonly end: string | undefined }

function checkWalk(subject: Subject, walk: readonly string[], place: WalkPlace): readonly Problem[] {
  const { kinds, links, scenario } = subject
  const unknown = walk.flatMap((id, step) =>
    kinds.has(id)
      ? []
      : [
          {
            path: [...place.path, step],
            message: 'unknown node',
            found: quote(id),
            expected: 'the id of a node in topology.nodes',
          },
        ],
  )
  if (unknown.length > 0) return unknown
  const found: Problem[] = []
  const last = walk.length - 1
  const masters = mastersOf(scenario)
  if (!masters.includes(walk[0] ?? '')) {
    const expected = masters.length === 1 ? `the master ${quote(masters[0] ?? '')}` : `a master: ${masters.join(', ')}`
    found.push({
      path: [...place.path, 0],
      message: 'path does not begin at the master',
      found: quote(walk[0] ?? ''),
      expected,
    })
  }
  const end = walk[last] ?? ''
  if (kinds.get(end) !== 'ied') {
    const message = 'path does not end at an IED'
    found.push({
      path: [...place.path, last],
      message,
      found: `${quote(end)} (${kinds.get(end)})`,
      expected: 'the id of an IED',
    })
  } else if (place.end !== undefined && end !== place.end) {
    const message = 'alternative ends elsewhere'
    found.push({ path: [...place.path, last], message, found: quote(end), expected: quote(place.end) })
  }
  const pairs = new Set(links.map(({ ends }) => pairOf(...ends)))
  for (const [step, id] of walk.entries()) {
    const next = walk[step + 1]
    if (walk.indexOf(id) < step) {
      found.push({
        path: [...place.path, step],
        message: 'path with a loop',
        found: `${quote(id)} again`,
        expected: 'each node once',
      })
    } else if (next !== undefined && next !== id && !pairs.has(pairOf(id, next))) {
      const expected = `a link between ${id} and ${next}`
      found.push({
        path: [...place.path, step + 1],
        message: 'path through no link',
        found: `${id} to ${next}`,
        expected,
      })
    }
  }
  return found
}

/** The task must be one that the IED at the end can carry out, and that the tasks section gives to it. */
function checkTarget({ scenario }: Subject, chain: ScenarioChain, path: Path): readonly Problem[] {
  const ied = scenario.topology.nodes.ieds.find(({ id }) => id === chain.path.at(-1))
  if (ied === undefined) return []
  const at = [...path, 'taskType']
  const wanted = chain.taskType === 'shedding' ? 'load' : 'generator'
  if (ied.kind !== wanted) {
    return [
      {
        path: at,
        message: 'task the IED cannot do',
        found: `${chain.taskType} at ${quote(ied.id)}, a ${ied.kind} IED`,
        expected: `a ${wanted} IED`,
      },
    ]
  }
  const { agc } = scenario.tasks
  if (ied.kind !== 'generator' || agc.units.includes(ied.bus) === (chain.taskType === 'agc')) return []
  const expected =
    chain.taskType === 'agc' ? `${ied.bus} in tasks.agc.units` : `agc, since ${ied.bus} is in tasks.agc.units`
  return [{ path: at, message: 'task not given to the unit', found: `${chain.taskType} at bus ${ied.bus}`, expected }]
}
