/** A sweep over Redis whose workers are killed at random while it runs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export type KilledSweep = {
  readonly scenario: string
  readonly runs: number
  readonly workers: number
  /** Workers to kill, one after the other, each replaced by a new one. */
  readonly kills: number
  /** Time between two of them, ms. */
  readonly killEveryMs: number
}

export type SweepOutcome = {
  readonly exitCode: number | null
  /** Ids of the runs in metrics.json, and the lines of runs.csv without its head. */
  readonly ids: readonly string[]
  readonly csvLines: number
  readonly killed: number
  readonly metrics: string
  readonly stderr: string
}

const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Undefined when there is no redis-server on this machine. */
export async function killedSweep(sweep: KilledSweep): Promise<SweepOutcome | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'q104-sweep-'))
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const redis = spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', folder], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const isThere = await new Promise<boolean>((resolve) => {
    redis.on('error', () => resolve(false))
    redis.stdout.on('data', (text) => {
      if (String(text).includes('Ready to accept')) resolve(true)
    })
  })
  if (!isThere) {
    rmSync(folder, { recursive: true })
    return undefined
  }
  const alive = new Set<ChildProcess>()
  const startWorker = (): void => {
    const worker = spawn(process.execPath, [BIN, 'worker', '--redis', url, '--threads', '1', '--quiet'], {
      stdio: 'ignore',
    })
    alive.add(worker)
  }
  try {
    for (let index = 0; index < sweep.workers; index += 1) startWorker()
    const out = join(folder, 'out')
    const args = [
      'sweep',
      'runs',
      '--scenario',
      sweep.scenario,
      '--runs',
      `${sweep.runs}`,
      '--redis',
      url,
      '--out',
      out,
    ]
    const collector = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    let stderr = ''
    collector.stderr.on('data', (text) => {
      stderr += String(text)
    })
    const ended = once(collector, 'exit')
    let killed = 0
    while (killed < sweep.kills && collector.exitCode === null) {
      await sleep(sweep.killEveryMs * (0.5 + Math.random()))
      const victims = [...alive]
      const victim = victims[Math.floor(Math.random() * victims.length)]
      if (victim === undefined || collector.exitCode !== null) break
      victim.kill('SIGKILL')
      alive.delete(victim)
      killed += 1
      startWorker()
    }
    const [exitCode] = (await ended) as [number | null]
    const metrics = readFileSync(join(out, 'metrics.json'), 'utf8')
    const { runs } = JSON.parse(metrics) as { readonly runs: readonly { readonly id: string }[] }
    const csvLines = readFileSync(join(out, 'runs.csv'), 'utf8').trim().split('\n').length - 1
    return { exitCode, ids: runs.map(({ id }) => id), csvLines, killed, metrics, stderr }
  } finally {
    for (const worker of alive) worker.kill('SIGKILL')
    redis.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}
