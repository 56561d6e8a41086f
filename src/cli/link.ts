import { changeLaws, checkLinks, type KnownLab, netemArgs, networkOf } from '../../netns/index.ts'
import { CLEAR, type LinkLaw } from '../sim/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { askLab } from './netlab/control.ts'
import { asBadInput, labNamed, linksNamed, linksOf, standingLinks } from './netlab/labs.ts'
import { bentLaw, LAW_WORDS, wordsOf } from './netlab/law-words.ts'
import { checkText } from './netlab/link-report.ts'
import { parseDurationS, parseOptions } from './options.ts'

const OPTIONS = { lab: { type: 'string' }, for: { type: 'string' } } as const

export const command: Command = {
  summary: 'show, bend or measure links of a lab',
  help: `
usage: q104 link [--lab LAB] NODE-NODE show
       q104 link [--lab LAB] NODE-NODE set WORD...
       q104 link [--lab LAB] NODE-NODE check [--for 5s]

show    the link's law, and the arguments of tc that make it
set     changes the law, both directions, of a lab that is up or running; what is not named stays as it is:
${LAW_WORDS.replaceAll(/^ {2}/gm, '        ')}
check   measures delay, jitter and loss of a lab that is up, against the law; exit code 1 if they are off

NODE-NODE may be a link's number, or all. --lab may be left out while there is one lab only.

Example: ./q104 link cc-gwA set delay=20ms jitter=2ms loss=1%`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const [which, action = 'show', ...words] = positionals
    if (which === undefined) throw new CliError('NODE-NODE is needed, found nothing')
    if (action !== 'set' && words.length > 0)
      throw new CliError(`${action} takes no more words, found: ${words.join(' ')}`)
    const lab = labNamed(values.lab)
    switch (action) {
      case 'show':
        return show(lab, which)
      case 'set':
        if (words.length === 0) throw new CliError(`set needs words such as\n${LAW_WORDS}`)
        return set(lab, which, words)
      case 'check':
        return check(lab, which, values.for === undefined ? 1 : parseDurationS(values.for, '--for'))
      default:
        throw new CliError(`found '${action}', expected show, set or check`)
    }
  },
}

async function show(known: KnownLab, which: string): Promise<number> {
  for (const { name, law } of linksNamed(await linksOf(known), which)) {
    process.stdout.write(`${name}: ${wordsOf(law)}\n${' '.repeat(name.length + 2)}tc: ${netemArgs(law).join(' ')}\n`)
  }
  return 0
}

async function set(known: KnownLab, which: string, words: readonly string[]): Promise<number> {
  const links = linksNamed(await linksOf(known), which)
  for (const { law, usualLaw } of links) bentLaw(law, words, usualLaw)
  if (known.kind === 'running') {
    for (const { link } of links) await askLab(known.lab, { kind: 'bend', link, words })
  } else {
    await asBadInput(() =>
      changeLaws(known.lab, (laws, usual) => {
        const bent = (link: number): LinkLaw => bentLaw(laws.get(link) ?? CLEAR, words, usual.get(link) ?? CLEAR)
        return new Map(links.map(({ link }) => [link, bent(link)]))
      }),
    )
  }
  const after = await linksOf(labNamed(known.lab))
  for (const { name, law } of linksNamed(after, which)) process.stdout.write(`${name}: ${wordsOf(law)}\n`)
  return 0
}

async function check(known: KnownLab, which: string, forS: number): Promise<number> {
  if (known.kind !== 'standing')
    throw new CliError(`lab ${known.lab} is not up by q104 up: its links cannot be measured`)
  const { standing } = known
  const links = linksNamed(standingLinks(standing), which)
  const laws = new Map(links.map(({ link, law }) => [link, law]))
  const found = await asBadInput(() => checkLinks(networkOf(standing), laws, 'asTheyAre', { durationMs: 1000 * forS }))
  process.stdout.write(`${checkText(found)}\n`)
  return found.problems.length === 0 ? 0 : 1
}
