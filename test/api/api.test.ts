import { readFileSync } from 'node:fs'
import { Writable } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import { apiOf } from '../../src/cli/api/api-server.ts'
import { ChainDesk } from '../../src/cli/api/chain-desk.ts'
import { headOf } from '../../src/cli/api/head-of.ts'
import { StateStream } from '../../src/cli/api/state-stream.ts'
import { LabView } from '../../src/dashboard/index.ts'
import { parseScenario, planOf, tasksOf, worldOf } from '../../src/experiment/index.ts'

const TOKEN = 'the-token-of-this-run'
const scenario = {
  ...parseScenario(readFileSync('test/dashboard/two-ways.yaml', 'utf8'), 'two-ways.yaml'),
  durationS: 20,
}
const plan = planOf(scenario)
const context = { lab: 'test', version: '0', mode: 'live', isolation: 'virtual', impairment: 'virtual' } as const
const records = worldOf(plan).run()

function viewOfRun(untilMs = Number.POSITIVE_INFINITY): LabView {
  const view = new LabView(headOf(scenario, plan, context))
  for (const record of [...records].sort((a, b) => a.tMs - b.tMs)) {
    if (record.tMs > untilMs) break
    view.take(record)
    view.tick(record.tMs)
  }
  return view
}

/** A server on the state of a finished virtual run; its controls are kept, its chains go to nobody. */
function serverOf(apply: () => Promise<string | undefined> = async () => undefined) {
  const view = viewOfRun()
  const controls: unknown[] = []
  const source = { head: () => view.head, state: () => view.state(), history: () => view.history.columns() }
  const desk = {
    chains: new ChainDesk({ scenario, apply, onChange: () => {} }),
    control: async (control: unknown) => void controls.push(control),
  }
  const stream = new StateStream(source.state)
  const app = apiOf({ source, desk, token: TOKEN, version: '0' }, stream)
  app.addHook('onClose', async () => stream.close())
  return { app, desk, controls }
}

const HOST = { host: '127.0.0.1:8104' }
const WITH_TOKEN = { ...HOST, authorization: `Bearer ${TOKEN}` }
const CHAIN = { taskType: 'agc', path: ['cc', 'gwB', 'rtu1', 'gen30'], alternatives: [['cc', 'gwA', 'rtu1', 'gen30']] }

t.test('reading needs no token; writing needs the one of the run', async (t) => {
  const { app, controls } = serverOf()
  t.teardown(() => app.close())
  for (const url of ['/', '/style.css', '/js/page/main.js', '/vendor/uplot.js', '/api/v1/state', '/api/v1/chains']) {
    t.equal((await app.inject({ url, headers: HOST })).statusCode, 200, url)
  }
  const order = { kind: 'cutLink', link: 'cc-gwA' }
  const writes = [
    { method: 'POST', url: '/api/v1/controls', payload: order },
    { method: 'PUT', url: '/api/v1/chains/agc-30', payload: CHAIN },
    { method: 'PUT', url: '/api/v1/chains', payload: { chains: [] } },
    { method: 'DELETE', url: '/api/v1/chains/agc-30' },
  ] as const
  const tokens = [undefined, 'Bearer', 'Bearer other', `Basic ${TOKEN}`, `Bearer ${TOKEN}x`, `Bearer ${TOKEN} `]
  for (const write of writes) {
    for (const authorization of tokens) {
      const headers = authorization === undefined ? HOST : { ...HOST, authorization }
      const { statusCode } = await app.inject({ ...write, headers })
      t.equal(statusCode, 401, `${write.method} ${write.url} with ${authorization}`)
    }
  }
  t.same(controls, [], 'nothing was done')
  const { statusCode } = await app.inject({ ...writes[0], headers: WITH_TOKEN })
  t.equal(statusCode, 200)
  t.same(controls, [order])
})

t.test('anything from a foreign origin, and any foreign name of this machine, is refused', async (t) => {
  const { app, controls } = serverOf()
  t.teardown(() => app.close())
  const foreign = [
    { origin: 'http://evil.example' },
    { origin: 'null' },
    { origin: 'http://127.0.0.1:9999' },
    { origin: 'https://127.0.0.1:8104' },
    { host: 'evil.example' },
    { host: 'evil.example:8104' },
    { host: '127.0.0.1.evil.example' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
    { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' },
  ]
  const payload = { kind: 'cutLink', link: 'cc-gwA' }
  for (const headers of foreign) {
    const all = { ...WITH_TOKEN, ...headers }
    t.equal((await app.inject({ url: '/api/v1/state', headers: all })).statusCode, 403, JSON.stringify(headers))
    const write = await app.inject({ method: 'POST', url: '/api/v1/controls', headers: all, payload })
    t.equal(write.statusCode, 403, JSON.stringify(headers))
  }
  t.same(controls, [])
  const own = { ...WITH_TOKEN, origin: 'http://127.0.0.1:8104', 'sec-fetch-site': 'same-origin' }
  t.equal((await app.inject({ method: 'POST', url: '/api/v1/controls', headers: own, payload })).statusCode, 200)
  const link = { ...HOST, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  t.equal((await app.inject({ url: '/', headers: link })).statusCode, 200, 'a link elsewhere may lead here')
  const frame = { ...link, 'sec-fetch-dest': 'iframe' }
  t.equal((await app.inject({ url: '/', headers: frame })).statusCode, 403, 'but no frame')
  const page = await app.inject({ url: '/', headers: HOST })
  t.match(page.headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/)
})

t.test(
  'chains are added, changed and taken away; an invalid one is refused with its place and changes nothing',
  async (t) => {
    const { app } = serverOf()
    t.teardown(() => app.close())
    const ids = async () => {
      const { chains } = (await app.inject({ url: '/api/v1/chains', headers: HOST })).json()
      return chains.map(({ id }: { id: string }) => id)
    }
    const put = (id: string, payload: object) =>
      app.inject({ method: 'PUT', url: `/api/v1/chains/${id}`, headers: WITH_TOKEN, payload })
    t.same(await ids(), ['shedding-3', 'agc-30'])
    t.match((await put('agc-30', { ...CHAIN, deadlineMs: 1500 })).json(), {
      id: 'agc-30',
      deadlineMs: 1500,
      path: CHAIN.path,
    })
    const got = await app.inject({ url: '/api/v1/chains/agc-30', headers: HOST })
    t.match(got.json(), { deadlineMs: 1500 })
    const wrong: readonly (readonly [string, object, string])[] = [
      ['agc-30', { ...CHAIN, path: ['cc', 'rtu1', 'gen30'] }, 'path[1]'],
      ['agc-30', { ...CHAIN, path: ['cc', 'gwA', 'rtu1', 'nobody'] }, 'path[3]'],
      ['agc-30', { ...CHAIN, taskType: 'shedding' }, 'taskType'],
      ['agc-30', { ...CHAIN, priority: -1 }, 'priority'],
      ['agc-30', { ...CHAIN, colour: 'red' }, 'colour'],
      ['agc-30', { taskType: 'agc' }, 'path'],
      ['agc-30', { ...CHAIN, id: 'agc-31' }, 'id'],
      ['again', CHAIN, 'path'],
      ['1bad', CHAIN, 'id'],
    ]
    for (const [id, payload, place] of wrong) {
      const answer = await put(id, payload)
      t.equal(answer.statusCode, 400, `${id} ${JSON.stringify(payload)}`)
      const places = answer.json().problems.map((problem: { place: string }) => problem.place)
      t.ok(places.includes(place), `${place} among ${places}`)
      for (const { found, expected } of answer.json().problems) t.ok(found && expected, `${found}, ${expected}`)
    }
    const set = { chains: [{ id: 'shed', taskType: 'shedding', path: ['cc', 'gwA', 'rtu1', 'load3'] }, { id: 'half' }] }
    const halfWrong = await app.inject({ method: 'PUT', url: '/api/v1/chains', headers: WITH_TOKEN, payload: set })
    t.equal(halfWrong.statusCode, 400)
    t.same(await ids(), ['shedding-3', 'agc-30'], 'all are as they were')
    t.equal((await app.inject({ method: 'DELETE', url: '/api/v1/chains/agc-30', headers: WITH_TOKEN })).statusCode, 204)
    t.equal((await app.inject({ method: 'DELETE', url: '/api/v1/chains/agc-30', headers: WITH_TOKEN })).statusCode, 404)
    t.same(await ids(), ['shedding-3'])
  },
)

t.test('a change that the master refuses changes nothing here either', async (t) => {
  const { app, desk } = serverOf(async () => 'no such link')
  t.teardown(() => app.close())
  const before = desk.chains.list()
  const answer = await app.inject({ method: 'DELETE', url: '/api/v1/chains/agc-30', headers: WITH_TOKEN })
  t.equal(answer.statusCode, 409)
  t.match(answer.json(), { problems: [{ found: 'no such link' }] })
  t.same(desk.chains.list(), before)
})

t.test('bodies are bounded and must be JSON', async (t) => {
  const { app, controls } = serverOf()
  t.teardown(() => app.close())
  const post = (payload: string, type = 'application/json') =>
    app.inject({
      method: 'POST',
      url: '/api/v1/controls',
      headers: { ...WITH_TOKEN, 'content-type': type },
      payload,
    })
  t.equal((await post(`"${'x'.repeat(2 << 20)}"`)).statusCode, 413)
  t.equal((await post('kind=cutLink', 'application/x-www-form-urlencoded')).statusCode, 415)
  t.equal((await post('{"kind":')).statusCode, 400)
  t.equal((await post('{"kind":"cutLink","link":"cc-gwA","__proto__":{"x":1}}')).statusCode, 400)
  t.equal((await post('')).statusCode, 400)
  t.same(controls, [])
})

t.test('whatever is sent gets an answer that tells what is wrong, and the chains stay chains', async (t) => {
  const { app, desk } = serverOf()
  t.teardown(() => app.close())
  const word = fc.constantFrom(
    'cc',
    'gwA',
    'rtu1',
    'gen30',
    'load3',
    'agc',
    'shedding',
    'otp',
    'cutLink',
    'loadStep',
    '',
  )
  const almost = fc.record(
    {
      kind: fc.oneof(word, fc.jsonValue()),
      id: word,
      link: fc.oneof(word, fc.jsonValue()),
      taskType: word,
      path: fc.oneof(fc.array(word), fc.jsonValue()),
      alternatives: fc.array(fc.array(word)),
      chains: fc.oneof(fc.array(fc.jsonValue()), fc.jsonValue()),
      priority: fc.double(),
    },
    { requiredKeys: [] },
  )
  const requests = fc.record({
    method: fc.constantFrom('PUT', 'POST', 'DELETE'),
    url: fc.oneof(
      fc.constantFrom('/api/v1/controls', '/api/v1/chains', '/api/v1/chains/agc-30', '/api/v1/chains/new'),
      fc.webPath().map((path) => `/api/v1/chains/${encodeURIComponent(path)}`),
    ),
    payload: fc.oneof(
      fc.json(),
      almost.map((body) => JSON.stringify(body)),
      fc.string(),
    ),
  })
  const headers = { ...WITH_TOKEN, 'content-type': 'application/json' }
  await fc.assert(
    fc.asyncProperty(requests, async ({ method, url, payload }) => {
      const answer = await app.inject({ method: method as 'PUT', url, headers, payload })
      if (answer.statusCode >= 500) throw new Error(`${answer.statusCode} ${answer.body}`)
      if (answer.statusCode >= 400 && answer.json().problems.length === 0) throw new Error('no problem told')
    }),
    { numRuns: 400 },
  )
  for (const { id, path } of desk.chains.list()) t.ok(path.length >= 2, id)
})

t.test('the OpenAPI document names every path, and its schemas are those of the requests', async (t) => {
  const { app } = serverOf()
  t.teardown(() => app.close())
  const document = (await app.inject({ url: '/api/v1/openapi.json', headers: HOST })).json()
  t.equal(document.openapi, '3.1.0')
  t.match(Object.keys(document.paths), ['/api/v1/state', '/api/v1/head', '/api/v1/history', '/api/v1/stream'])
  t.match(document.components.schemas.Chain, { additionalProperties: false, required: ['id', 'taskType', 'path'] })
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)]
  for (const [, name = ''] of references) t.ok(document.components.schemas[name], name)
})

t.test('the page’s figures are those of the report', async (t) => {
  const state = viewOfRun().state()
  const tasks = tasksOf(records).filter(({ chain }) => chain === 'agc-30')
  const chain = state.chains.find(({ id }) => id === 'agc-30')
  t.equal(chain?.issued, tasks.length)
  t.equal(chain?.full, tasks.filter(({ outcome }) => outcome === 'full').length)
  t.ok(tasks.length >= 15)
  for (const split of state.tasks.filter(({ taskType }) => taskType === 'agc')) {
    const task = tasks.find((one) => one.task === split.task)
    const parts = ['turnMs', 'keyWaitMs', 'queueMs', 'wireMs', 'breakerMs'] as const
    for (const part of parts) t.ok(Math.abs((task?.[part] ?? Number.NaN) - split[part]) < 0.01, `${split.task} ${part}`)
  }
  const used = records.findLast(({ name }) => name === 'pool')
  t.match(state.pool?.books, { usedBits: used?.['usedBits'], generatedBits: used?.['generatedBits'] })
  t.equal(state.grid?.collapsed, false)
  t.ok((state.grid?.minVoltagePu ?? 0) > 0.9)
})

t.test('the history is thinned, not cut: it always reaches from the start to now', async (t) => {
  const view = new LabView(headOf(scenario, plan, context))
  view.take({ tMs: 0, node: 'grid', name: 'grid', deltaFHz: 0, worstHz: 0 })
  for (let tMs = 0; tMs <= 3_600_000; tMs += 100) view.tick(tMs)
  const { tMs, columns } = view.history.columns()
  t.ok(tMs.length <= 2_400 && tMs.length > 1_000, `${tMs.length} samples`)
  t.equal(tMs[0], 0)
  t.ok((tMs.at(-1) ?? 0) > 3_590_000)
  t.equal(columns['deltaFHz']?.length, tMs.length)
})

/** Takes what it is given one at a time, when it is told to. */
class SlowReader extends Writable {
  readonly got: string[] = []
  #next: (() => void) | undefined

  constructor() {
    super({ highWaterMark: 1_000, decodeStrings: false })
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.got.push(String(chunk))
    this.#next = done
  }

  go(): void {
    this.#next?.()
  }
}

t.test('a slow reader is sent the newest state when it is ready, and nothing piles up meanwhile', async (t) => {
  const view = viewOfRun(5_000)
  const stream = new StateStream(() => view.state())
  t.teardown(() => stream.close())
  const reader = new SlowReader()
  t.equal(stream.add(reader), true)
  const first = reader.writableLength
  for (let tick = 1; tick <= 500; tick++) {
    view.tick(5_000 + tick)
    stream.tick()
    t.ok(reader.writableLength <= first, 'what waits does not grow')
    if (reader.writableLength > first) break
  }
  reader.go()
  await new Promise((resolve) => setImmediate(resolve))
  stream.tick()
  t.match(reader.got.at(-1), /"tMs":5500/, 'the last state, not those in between')
  t.equal(reader.got.length, 2)
  t.notMatch(reader.got.at(-1), /"links"/, 'and of it what has changed')
})
