/**
 * `npm run bench -- q3p-flood [PER_S [ROUNDS [ATTACK...]]]`: commands over a link on loopback UDP, its ends two processes, while a third
 * that has stolen the peer's socket floods it. Quiet and flooded rounds take turns; the medians of their p99 are compared.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Attack, FromEnd, ToEnd } from './q3p/flood-messages.ts'
import { machine, quantile } from './q3p/machine.ts'

const ROUND_MS = 4000
const COMMANDS_PER_S = 200

/** Exit code 1 when the flooded p99 of an attack is not below twice the quiet one. */
export async function bench(args: readonly string[]): Promise<number> {
  const [perS, rounds] = [Number(args[0] ?? 100_000), Number(args[1] ?? 5)]
  const attacks = args.length > 2 ? (args.slice(2) as Attack[]) : (['noise', 'blind', 'sniffing', 'freshKey'] as const)
  const script = fileURLToPath(new URL('./q3p/flood-end.js', import.meta.url))
  const [centre, station] = [fork(script), fork(script)]
  for (const child of [centre, station]) child.setMaxListeners(0)
  const isUp = next(centre, 'up')
  tellEnd(station, { kind: 'begin', end: 1 })
  tellEnd(centre, { kind: 'begin', end: 0 })
  await isUp
  await roundOf(centre, 1000)
  console.log(machine())
  let isMissed = false
  for (const attack of attacks) {
    const [quiet, flooded]: [Figures[], Figures[]] = [[], []]
    for (let index = 0; index < rounds; index += 1) {
      quiet.push(await roundOf(centre, ROUND_MS))
      const end = next(centre, 'flooded')
      tellEnd(centre, { kind: 'flood', attack, durationMs: ROUND_MS + 2500, perS })
      await sleep(700)
      const before = await usageOf(station)
      const figures = await roundOf(centre, ROUND_MS)
      const after = await usageOf(station)
      const usPerDatagram = (after.cpuUs - before.cpuUs) / (after.received - before.received)
      flooded.push({ ...figures, usPerDatagram, sentPerS: (await end).sent / ((ROUND_MS + 2500) / 1000) })
    }
    const [quietMs = Number.NaN, floodedMs = Number.NaN] = [quiet, flooded].map((all) => median(all, 'p99Ms'))
    const ratio = floodedMs / quietMs
    isMissed ||= !(ratio < 2)
    console.log(`${attack}, ${Math.round(median(flooded, 'sentPerS'))} datagrams/s:`)
    for (const [name, all] of [
      ['quiet', quiet],
      ['flooded', flooded],
    ] as const) {
      const row = (fact: keyof Figures, digits = 2): string => all.map((one) => one[fact].toFixed(digits)).join(' ')
      console.log(`  ${name.padEnd(8)} p50 ms ${row('p50Ms')} | p99 ms ${row('p99Ms')} | lost ${row('lost', 0)}`)
    }
    // Tells what the machine's load cannot: below 100 % the station keeps up.
    const usPerDatagram = median(flooded, 'usPerDatagram')
    const share = ((usPerDatagram * perS) / 1e4).toFixed(0)
    console.log(`  station: ${usPerDatagram.toFixed(2)} us of CPU a datagram, ${share} % of a core at ${perS} a second`)
    console.log(
      `  p99, medians: quiet ${quietMs.toFixed(2)} ms, flooded ${floodedMs.toFixed(2)} ms: ${ratio.toFixed(2)} times`,
    )
  }
  const end = next(station, 'stopped')
  for (const child of [station, centre]) tellEnd(child, { kind: 'stop' })
  const { received, counters } = await end
  console.log(`station: ${received} datagrams received, counters ${JSON.stringify(counters)}`)
  return isMissed ? 1 : 0
}

type Figures = {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly lost: number
  readonly sentPerS: number
  readonly usPerDatagram: number
}

async function usageOf(end: ChildProcess): Promise<Extract<FromEnd, { kind: 'usage' }>> {
  const usage = next(end, 'usage')
  tellEnd(end, { kind: 'usage' })
  return usage
}

async function roundOf(centre: ChildProcess, durationMs: number): Promise<Figures> {
  const done = next(centre, 'round')
  tellEnd(centre, { kind: 'round', durationMs, perS: COMMANDS_PER_S })
  const { times, lost } = await done
  const samples = Float64Array.from(times)
  return { p50Ms: quantile(samples, 0.5), p99Ms: quantile(samples, 0.99), lost, sentPerS: 0, usPerDatagram: 0 }
}

function tellEnd(child: ChildProcess, message: ToEnd): void {
  child.send(message)
}

function next<K extends FromEnd['kind']>(child: ChildProcess, kind: K): Promise<Extract<FromEnd, { kind: K }>> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: FromEnd): void => {
      if (message.kind !== kind) return
      child.off('message', onMessage)
      resolve(message as Extract<FromEnd, { kind: K }>)
    }
    child.on('message', onMessage)
    child.once('exit', (code) => reject(new Error(`a process ended with code ${code}`)))
  })
}

function median(rounds: readonly Figures[], fact: keyof Figures): number {
  return rounds.map((round) => round[fact]).toSorted((a, b) => a - b)[Math.floor(rounds.length / 2)] ?? Number.NaN
}
