/** Laws of links as words of the command line: `delay=20ms loss=1%`. */
import { type BurstLoss, checkedLaw, type LinkLaw } from '../../sim/index.ts'
import { CliError } from '../errors.ts'

/** The words, for help and messages. */
export const LAW_WORDS = `
  delay=20ms                 one-way delay; us, ms or s
  jitter=2ms                 scale of its jitter (standard deviation, or half width of uniform)
  distribution=normal        of the jitter: normal, uniform or pareto
  loss=1%                    datagrams lost, independent of each other
  burst=1%/25%/80%           Gilbert-Elliott: start of a burst, end of one, loss within; none ends it
  duplicate=1%               datagrams sent twice
  reorder=5%                 datagrams that skip the delay
  rate=1mbit                 line rate: bit, kbit, mbit or gbit; none: no limit
  down, up                   break the link, mend it
  default                    as the scenario has it`.slice(1)

type Word = (law: LinkLaw, value: string, word: string) => LinkLaw

const WORDS: Readonly<Record<string, Word>> = {
  delay: (law, value, word) => ({ ...law, delayMs: timeMs(value, word) }),
  jitter: (law, value, word) => ({ ...law, jitterMs: timeMs(value, word) }),
  distribution: (law, value, word) => {
    if (value === 'normal' || value === 'uniform' || value === 'pareto') return { ...law, jitter: value }
    throw wrong(word, 'normal, uniform or pareto')
  },
  loss: (law, value, word) => ({ ...law, lossRatio: ratio(value, word) }),
  burst: ({ burst: _, ...law }, value, word) => (value === 'none' ? law : { ...law, burst: burst(value, word) }),
  duplicate: (law, value, word) => ({ ...law, duplicateRatio: ratio(value, word) }),
  reorder: (law, value, word) => ({ ...law, reorderRatio: ratio(value, word) }),
  rate: ({ bandwidthBps: _, ...law }, value, word) =>
    value === 'none' ? law : { ...law, bandwidthBps: bitsPerS(value, word) },
}

/**
 * The law that words make of one; `usual` is the law `default` stands for.
 * @throws CliError naming the word that is wrong
 */
export function bentLaw(law: LinkLaw, words: readonly string[], usual: LinkLaw): LinkLaw {
  let bent = law
  for (const word of words) {
    const [, key = '', value] = /^([a-z]+)(?:=(.*))?$/.exec(word) ?? []
    if (value === undefined && key === 'default') bent = usual
    else if (value === undefined && (key === 'up' || key === 'down')) bent = { ...bent, outage: key === 'down' }
    else {
      const set = WORDS[key]
      if (set === undefined || value === undefined)
        throw new CliError(`found '${word}', expected words such as\n${LAW_WORDS}`)
      bent = set(bent, value, word)
    }
  }
  try {
    return checkedLaw(bent)
  } catch (error) {
    if (error instanceof RangeError) throw new CliError(error.message)
    throw error
  }
}

/** Words said before and words said now, as one list: the later of a kind holds, and nothing before `default` does. */
export function joinedWords(before: readonly string[], now: readonly string[]): readonly string[] {
  const all = [...before, ...now]
  const kept = new Map<string, string>()
  for (const word of all.slice(all.lastIndexOf('default') + 1)) {
    kept.set(word === 'up' || word === 'down' ? 'outage' : (word.split('=')[0] ?? ''), word)
  }
  return [...kept.values()]
}

/** The law in words that `bentLaw` reads. */
export function wordsOf(law: LinkLaw): string {
  const {
    delayMs,
    jitterMs,
    jitter,
    lossRatio,
    burst,
    duplicateRatio = 0,
    reorderRatio = 0,
    bandwidthBps,
    outage,
  } = law
  return [
    `delay=${short(delayMs)}ms`,
    ...(jitterMs > 0 ? [`jitter=${short(jitterMs)}ms`, `distribution=${jitter}`] : []),
    ...(lossRatio > 0 ? [`loss=${percent(lossRatio)}`] : []),
    ...(burst ? [`burst=${[burst.startRatio, burst.endRatio, burst.lossRatio].map(percent).join('/')}`] : []),
    ...(duplicateRatio > 0 ? [`duplicate=${percent(duplicateRatio)}`] : []),
    ...(reorderRatio > 0 ? [`reorder=${percent(reorderRatio)}`] : []),
    ...(bandwidthBps === undefined ? [] : [`rate=${short(bandwidthBps)}bit`]),
    ...(outage ? ['down'] : []),
  ].join(' ')
}

function timeMs(text: string, word: string): number {
  const unitMs: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 }
  return number(text, unitMs, word, 'a time such as 20ms, 500us or 1.5s')
}

function bitsPerS(text: string, word: string): number {
  const unitBps: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 }
  return number(text, unitBps, word, 'a rate such as 64kbit or 1mbit, or none')
}

function ratio(text: string, word: string): number {
  return number(text, { '%': 0.01 }, word, 'a part such as 1% or 0.5%')
}

function burst(text: string, word: string): BurstLoss {
  const [startRatio, endRatio, lossRatio, ...more] = text.split('/').map((part) => ratio(part, word))
  if (startRatio === undefined || endRatio === undefined || lossRatio === undefined || more.length > 0) {
    throw wrong(word, 'three parts such as 1%/25%/80%, or none')
  }
  return { startRatio, endRatio, lossRatio }
}

function number(text: string, units: Readonly<Record<string, number>>, word: string, expected: string): number {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)([a-z%]*)$/i.exec(text) ?? []
  const factor = digits !== '' && Number(digits) === 0 ? 0 : units[unit.toLowerCase()]
  if (digits === '' || factor === undefined) throw wrong(word, expected)
  return Number((Number(digits) * factor).toPrecision(12))
}

function wrong(word: string, expected: string): CliError {
  return new CliError(`found '${word}', expected ${expected}`)
}

function percent(ratio: number): string {
  return `${short(100 * ratio)}%`
}

function short(value: number): string {
  return String(Number(value.toPrecision(6)))
}
