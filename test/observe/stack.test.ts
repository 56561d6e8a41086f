import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { BOARDS } from '../../grafana/panels.ts'
import { parseRecords } from '../../src/runtime/index.ts'
import { LabUnderTest } from '../cli/lab-under-test.ts'
import { HttpSink } from './http-sink.ts'
import { SmtpSink } from './smtp-sink.ts'

const has = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0
const missing = ['prometheus', 'promtool', 'influxd'].filter((command) => !has(command))
const skip = missing.length > 0 ? `not on this machine: ${missing.join(', ')}` : false

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function answers(url: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    )
    if (ok) return
    await sleep(50)
  }
  throw new Error(`${url} does not answer`)
}

const dir = mkdtempSync(join(tmpdir(), 'q104-observe-'))
const children: ChildProcess[] = []
function start(command: string, ...args: readonly string[]): void {
  children.push(spawn(command, args, { stdio: 'ignore', cwd: dir }))
}

t.teardown(async () => {
  for (const child of children) child.kill('SIGTERM')
  await Promise.all(children.map((child) => child.exitCode ?? new Promise((resolve) => child.once('close', resolve))))
  rmSync(dir, { recursive: true, force: true })
})

/** The tiny lab with a limit on frequency that its load step breaks, and a cut of its first link. */
function scenario(): string {
  const file = join(dir, 'observed.yaml')
  const faults = 'faults: [{ kind: cutLink, atS: 2, link: cc-gwA, forS: 2 }]\nalerts: { frequencyHz: 0.1 }\n'
  writeFileSync(file, `${readFileSync('scenarios/tiny.yaml', 'utf8')}\n${faults}`)
  return file
}

async function startInflux(): Promise<string> {
  const [http, rpc] = [await freePort(), await freePort()]
  const config = join(dir, 'influx.conf')
  mkdirSync(join(dir, 'influx'))
  writeFileSync(
    config,
    `reporting-disabled = true
bind-address = "127.0.0.1:${rpc}"
[meta]
  dir = "${dir}/influx/meta"
[data]
  dir = "${dir}/influx/data"
  wal-dir = "${dir}/influx/wal"
[http]
  bind-address = "127.0.0.1:${http}"
  log-enabled = false
`,
  )
  start('influxd', '-config', config)
  const url = `http://127.0.0.1:${http}`
  await answers(`${url}/ping`)
  await fetch(`${url}/query?q=${encodeURIComponent('CREATE DATABASE q104')}`, { method: 'POST' })
  return url
}

t.test('the rules are valid, and alert as their tests say', { skip }, async (t) => {
  const check = spawnSync('promtool', ['check', 'rules', 'grafana/prometheus/rules.yml'], { encoding: 'utf8' })
  t.equal(check.status, 0, check.stdout + check.stderr)
  const tests = spawnSync('promtool', ['test', 'rules', 'grafana/prometheus/rules.test.yml'], { encoding: 'utf8' })
  t.equal(tests.status, 0, tests.stdout + tests.stderr)
})

t.test('a live lab is seen by Prometheus, InfluxDB, Slack and a mail server', { skip }, async (t) => {
  const influx = await startInflux()
  const slack = await HttpSink.listen()
  const smtp = await SmtpSink.listen()
  slack.statuses = [200]
  t.teardown(() => Promise.all([slack.close(), smtp.close()]))
  process.env['Q104_SLACK_WEBHOOK_URL'] = `${slack.url}/hook`
  process.env['Q104_SMTP_URL'] = `smtp://127.0.0.1:${smtp.port}`
  process.env['Q104_ALERT_TO'] = 'operator@example.org'
  const lab = new LabUnderTest('t-seen', scenario(), '--duration', '16s', '--influx', `${influx}/?db=q104`)
  await lab.printed(/processes up/)
  const config = lab.file('prometheus.yml')
  const checked = spawnSync('promtool', ['check', 'config', config], { encoding: 'utf8' })
  t.equal(checked.status, 0, checked.stdout + checked.stderr)
  const port = await freePort()
  const listen = `--web.listen-address=127.0.0.1:${port}`
  start('prometheus', `--config.file=${config}`, listen, `--storage.tsdb.path=${dir}/prometheus`)
  await answers(`http://127.0.0.1:${port}/-/ready`)
  await sleep(11_000)

  const get = async (url: string): Promise<Record<string, unknown>> => (await fetch(url)).json() as never
  await t.test('Prometheus scrapes every process', async (t) => {
    const { data } = (await get(`http://127.0.0.1:${port}/api/v1/targets`)) as {
      data: { activeTargets: { health: string; labels: { process: string }; lastError: string }[] }
    }
    const seen = data.activeTargets.map(({ health, labels, lastError }) => `${labels.process} ${health}${lastError}`)
    t.same(seen.sort(), ['cc up', 'gen30 up', 'grid up', 'gwA up', 'keyserver up', 'load3 up', 'rtu1 up'])
  })

  await t.test('every panel of every dashboard has data from Prometheus', async (t) => {
    const empty: string[] = []
    const end = Date.now() / 1000
    for (const { title: board, panels } of BOARDS) {
      for (const { title, prometheus } of panels) {
        for (const { expr } of prometheus) {
          const query = expr.replaceAll('$lab', 't-seen').replaceAll('$__rate_interval', '5s')
          const range = new URLSearchParams({ query, start: String(end - 9), end: String(end), step: '1' })
          const { status, data } = (await get(`http://127.0.0.1:${port}/api/v1/query_range?${range}`)) as {
            status: string
            data: { result: unknown[] } | undefined
          }
          if (status !== 'success' || data?.result.length === 0) empty.push(`${board}: ${title}: ${query}`)
        }
      }
    }
    t.same(empty, [])
  })

  const { code } = await lab.finished
  t.equal(code, 0, 'the lab was not disturbed by its watchers')

  await t.test('every panel of every dashboard has data from InfluxDB', async (t) => {
    const empty: string[] = []
    for (const { title: board, panels } of BOARDS) {
      for (const { title, influx: series } of panels) {
        for (const { query } of series) {
          const q = query
            .replaceAll('$lab', 't-seen')
            .replaceAll('$timeFilter', 'time > now() - 5m')
            .replaceAll('$__interval', '2s')
          const asked = new URLSearchParams({ db: 'q104', q })
          const { results } = (await get(`${influx}/query?${asked}`)) as {
            results: { series?: unknown[]; error?: string }[]
          }
          if (results[0]?.series === undefined) empty.push(`${board}: ${title}: ${results[0]?.error ?? ''} ${q}`)
        }
      }
    }
    t.same(empty, [])
  })

  await t.test('one event is one raise and one clear, in the record, on Slack and by mail', async (t) => {
    const notes = parseRecords(readFileSync(lab.file('events.jsonl'), 'utf8')).filter(({ name }) =>
      name.startsWith('alert.'),
    )
    const told = (id: string): readonly string[] => notes.filter((note) => note['id'] === id).map(({ name }) => name)
    t.same(told('link cc-gwA'), ['alert.raised', 'alert.cleared'])
    t.equal(told('frequency')[0], 'alert.raised')
    for (const [where, texts] of [['Slack', slack.bodies] as const, ['mail', smtp.mails] as const]) {
      for (const { name, text } of notes) {
        const kind = String(name).replace('alert.', '')
        const count = texts.filter((body) => body.includes(kind) && body.includes(String(text))).length
        t.equal(count, 1, `${where}: ${kind}: ${text}`)
      }
    }
  })
  t.same(await lab.leftovers(), [])
})
