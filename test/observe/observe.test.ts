import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { dashboardFiles } from '../../grafana/dashboards.ts'
import {
  AlertBook,
  type AlertNote,
  type AlertView,
  InfluxWriter,
  influxTarget,
  lineOf,
  Notifier,
  ProcessMetrics,
  pointsOf,
  receiversOf,
} from '../../src/observe/index.ts'
import type { PoolStatus } from '../../src/runtime/contract.ts'
import { HttpSink } from './http-sink.ts'
import { SmtpSink } from './smtp-sink.ts'

const LIMITS = {
  frequencyHz: 0.2,
  missRatio: 0.05,
  minMisses: 2,
  missWindowMs: 30_000,
  raiseAfterMs: 300,
  clearAfterMs: 2_000,
}
const linkNames = new Map([[1, 'cc-gwA']])

async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (!condition() && performance.now() < deadlineMs) await sleep(10)
}

t.test('metrics', async (t) => {
  t.test('tell what the events told, under the names of the links', async (t) => {
    const metrics = new ProcessMetrics({ role: 'master', linkNames, wakeLagMaxMs: () => 12 })
    metrics.observe({ name: 'task.issued', task: '1', taskType: 'agc' })
    metrics.observe({ name: 'task.sent', task: '1', link: 1, queueMs: 3, keyWaitMs: 40 })
    metrics.observe({ name: 'task.done', task: '1', taskType: 'agc', ok: false, delivered: true, latencyMs: 700 })
    metrics.observe({ name: 'link.up', link: 1 })
    metrics.observe({ name: 'plan', otp: 3, aes: 1, off: 0 })
    const text = await metrics.text()
    const expected = [
      'q104_tasks_issued_total{task_type="agc"} 1',
      'q104_tasks_done_total{task_type="agc",ok="false"} 1',
      'q104_task_deadline_misses_total{task_type="agc"} 1',
      'q104_task_duration_seconds_sum{task_type="agc"} 0.7',
      'q104_key_wait_seconds_sum{link="cc-gwA"} 0.04',
      'q104_queue_seconds_count{link="cc-gwA"} 1',
      'q104_link_up{link="cc-gwA"} 1',
      'q104_chains{state="otp"} 3',
      'q104_wake_lag_max_seconds 0.012',
      'q104_events_total{name="plan"} 1',
    ]
    t.same(
      expected.filter((line) => !text.includes(`${line}\n`)),
      [],
    )
  })

  t.test('of the stock follow its state, and say when the books do not balance', async (t) => {
    const metrics = new ProcessMetrics({ role: 'keyserver', linkNames })
    const books = {
      generatedBits: 100,
      usedBits: 20,
      expiredBits: 0,
      discardedBits: 10,
      reservedBits: 30,
      poolBits: 40,
    }
    const link = { link: 1, up: true, rateBps: 6900, delayMs: 0.5 }
    const status: PoolStatus = { tMs: 0, level: 'warn', safeBits: 1, thBits: 2, capBits: 3, books, links: [link] }
    metrics.observePool(status)
    t.match(await metrics.text(), /q104_key_stock_bits 40\n[\s\S]*q104_key_level\{level="warn"\} 1\n/)
    t.match(await metrics.text(), /q104_key_books_balanced 1\n[\s\S]*q104_key_bits_total\{kind="generated"\} 100\n/)
    metrics.observePool({ ...status, books: { ...books, poolBits: 41 } })
    t.match(await metrics.text(), /q104_key_books_balanced 0\n/)
    t.match(await metrics.text(), /q104_key_bits_total\{kind="generated"\} 100\n/, 'a counter is set, not added to')
  })
})

t.test('InfluxDB', async (t) => {
  t.test('points are lines of the protocol whatever their tags hold', async (t) => {
    const point = { measurement: 'a b,c', tags: { 'k=': 'v 1,2=\\', none: '' }, fields: { value: 1.5 }, wallMs: 1000.4 }
    t.equal(lineOf(point), 'a\\ b\\,c,k\\==v\\ 1\\,2\\=\\\\ value=1.5 1000')
    t.equal(lineOf({ ...point, fields: { value: Number.NaN } }), undefined)
    const odd: string[] = []
    fc.assert(
      fc.property(
        fc.string(),
        fc.string({ minLength: 1 }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        (tag, name, value) => {
          const line = lineOf({ measurement: name, tags: { tag }, fields: { value }, wallMs: 5 }) ?? ''
          // Unescaped spaces part the line in three, whatever the names hold.
          const parts = line.replaceAll(/\\[\s\S]/g, '_').split(' ')
          if (parts.length !== 3 || line.includes('\n')) odd.push(line)
        },
      ),
    )
    t.same(odd, [])
  })

  t.test('both versions of its address are understood, and others refused with what was expected', async (t) => {
    t.match(influxTarget('http://h:8086/?db=q104', 'u:p'), {
      writeUrl: 'http://h:8086/write?db=q104&precision=ms',
      headers: { authorization: 'Basic dTpw' },
    })
    t.match(influxTarget('http://h:8086?org=o&bucket=b', 'secret'), {
      writeUrl: 'http://h:8086/api/v2/write?org=o&bucket=b&precision=ms',
      headers: { authorization: 'Token secret' },
    })
    for (const wrong of ['nonsense', 'ftp://h/?db=x', 'http://h:8086/', 'http://u:p@h/?db=x'])
      t.throws(() => influxTarget(wrong, undefined), { name: 'InfluxAddressError' }, wrong)
  })

  t.test('a histogram gives its sum and count', async (t) => {
    const metrics = new ProcessMetrics({ role: 'ied', linkNames })
    metrics.observe({ name: 'ied.done', breakerMs: 250 })
    const points = pointsOf(await metrics.families(), { process: 'load3' }, 7)
    const breaker = points.filter(({ measurement }) => measurement === 'q104_breaker_seconds')
    t.same(
      breaker.map(({ fields, tags }) => ({ fields, tags })),
      [
        { fields: { sum: 0.25 }, tags: { process: 'load3' } },
        { fields: { count: 1 }, tags: { process: 'load3' } },
      ],
    )
  })

  t.test('a server that is away gets the points later; one that refuses them does not hold up the next', async (t) => {
    const sink = await HttpSink.listen()
    t.teardown(() => sink.close())
    sink.statuses = [503, 400, 204]
    const problems: (string | undefined)[] = []
    const writer = new InfluxWriter({
      ...influxTarget(`${sink.url}/?db=x`, undefined),
      flushMs: 20,
      batchLines: 1,
      maxLines: 3,
      onProblem: (problem) => problems.push(problem),
    })
    const point = (value: number) => ({ measurement: 'm', tags: {}, fields: { value }, wallMs: value })
    writer.write([1, 2, 3, 4].map(point))
    await until(() => writer.counts().written === 2)
    t.same(writer.counts(), { written: 2, dropped: 2, waiting: 0, retries: 1 })
    t.same(
      sink.bodies.map((body) => body.trim()),
      ['m value=2 2', 'm value=2 2', 'm value=3 3', 'm value=4 4'],
    )
    t.match(problems, [/503/, /400/, undefined])
    await writer.close()
  })

  t.test('a server that never was leaves a bounded queue', async (t) => {
    const writer = new InfluxWriter({ writeUrl: 'http://127.0.0.1:9/write', headers: {}, flushMs: 5, maxLines: 10 })
    for (let i = 0; i < 100; i++) writer.write([{ measurement: 'm', tags: {}, fields: { value: i }, wallMs: i }])
    await until(() => writer.counts().retries > 0)
    t.match(writer.counts(), { written: 0, waiting: 10, dropped: 90 })
    await writer.close()
    t.equal(writer.counts().waiting, 0)
  })
})

const view = (tMs: number, more: Partial<AlertView> = {}): AlertView => ({ tMs, linksUp: new Map(), ...more })

t.test('alerts', async (t) => {
  t.test('a value that hovers at its limit is one alert, raised once and cleared once', async (t) => {
    const book = new AlertBook(LIMITS)
    const notes: AlertNote[] = []
    for (let tMs = 0; tMs < 20_000; tMs += 100) {
      const near = 0.2 + (tMs % 200 === 0 ? 0.01 : -0.01)
      const deltaFHz = tMs < 2_000 ? 0.05 : tMs < 3_000 ? -0.25 : tMs < 10_000 ? near : 0.01
      notes.push(...book.take(view(tMs, { deltaFHz })))
    }
    t.match(notes, [
      { kind: 'raised', id: 'frequency', tMs: 2_300 },
      { kind: 'cleared', id: 'frequency', tMs: 12_000 },
    ])
    t.same(book.raised, [])
  })

  t.test('raised and cleared take turns, whatever the values do', async (t) => {
    const wrong: AlertNote[][] = []
    fc.assert(
      fc.property(
        fc.array(fc.record({ f: fc.double({ min: -1, max: 1, noNaN: true }), up: fc.boolean() })),
        (samples) => {
          const book = new AlertBook(LIMITS)
          const notes = samples.flatMap(({ f, up }, i) => [
            ...book.take(view(i * 400, { deltaFHz: f, linksUp: new Map([['a-b', up]]) })),
          ])
          for (const id of ['frequency', 'link a-b']) {
            const own = notes.filter((note) => note.id === id)
            if (own.some(({ kind }, i) => kind !== (i % 2 === 0 ? 'raised' : 'cleared'))) wrong.push(own)
          }
        },
      ),
    )
    t.same(wrong, [])
  })

  t.test('stock, books, links and late commands are watched', async (t) => {
    const book = new AlertBook(LIMITS)
    const notes: AlertNote[] = []
    for (let tMs = 0; tMs <= 60_000; tMs += 250) {
      const bad = tMs >= 5_000 && tMs < 10_000
      const stock = { bits: bad ? 10 : 100, safeBits: 50, booksBalanced: !bad }
      const tasks = { issued: tMs / 250, late: bad ? (tMs - 5_000) / 250 : tMs < 5_000 ? 0 : 20 }
      notes.push(...book.take(view(tMs, { stock, tasks, linksUp: new Map([['cc-gwA', !bad]]) })))
    }
    const ids = ['key stock', 'key books', 'link cc-gwA', 'deadlines']
    const seen = ids.map((id) => [id, ...notes.filter((note) => note.id === id).map(({ kind }) => kind)])
    t.same(
      seen,
      ids.map((id) => [id, 'raised', 'cleared']),
    )
  })
})

t.test('messages', async (t) => {
  const note = (n: number): AlertNote => ({ kind: 'raised', id: `link ${n}`, text: `link ${n} is down`, tMs: n })

  t.test('get through once to Slack and to the mail server, the secret in neither', async (t) => {
    const slack = await HttpSink.listen()
    const smtp = await SmtpSink.listen()
    t.teardown(() => Promise.all([slack.close(), smtp.close()]))
    const receivers = receiversOf({
      Q104_SLACK_WEBHOOK_URL: `${slack.url}/services/T0/secret`,
      Q104_SMTP_URL: `smtp://127.0.0.1:${smtp.port}`,
      Q104_ALERT_TO: 'operator@example.org',
    })
    t.same([...receivers.keys()], ['Slack', 'e-mail'])
    slack.statuses = [500, 200]
    const notifiers = [...receivers.values()].map((deliver) => new Notifier({ lab: 'l', deliver, firstRetryMs: 10 }))
    for (const notifier of notifiers) notifier.send([note(1)])
    await until(() => slack.bodies.length === 2 && smtp.mails.length === 1)
    await Promise.all(notifiers.map((notifier) => notifier.close()))
    t.match(JSON.parse(slack.bodies[1] ?? ''), { text: /Q104 l: link 1 raised/ })
    t.match(smtp.mails, [/Subject: Q104 l: link 1 raised[\s\S]*link 1 is down/])
    t.notMatch(slack.bodies.join() + smtp.mails.join(), /secret/)
  })

  t.test('of a storm are gathered, and a receiver that is away costs nothing but a bounded queue', async (t) => {
    const texts: string[] = []
    const deliver = async (_: string, text: string): Promise<void> => void texts.push(text)
    const notifier = new Notifier({ lab: 'l', deliver, perMinute: 2 })
    for (let n = 0; n < 1_000; n++) {
      notifier.send([note(n)])
      if (n < 3) await sleep(1)
    }
    await notifier.close()
    t.equal(texts.length, 3)
    t.match(texts.at(-1), /^498 earlier alerts were dropped/)

    const problems: (string | undefined)[] = []
    const away = new Notifier({
      lab: 'l',
      deliver: () => Promise.reject(new Error('nobody there')),
      onProblem: (problem) => problems.push(problem),
    })
    away.send([note(1)])
    await away.close()
    t.same(problems, ['nobody there'])
  })

  t.test('wrong settings are named, without their values', async (t) => {
    const wrong = [
      [{ Q104_SLACK_WEBHOOK_URL: 'hush' }, /^Q104_SLACK_WEBHOOK_URL is not a URL/],
      [{ Q104_SMTP_URL: 'http://hush', Q104_ALERT_TO: 'a@b' }, /^Q104_SMTP_URL is not a URL/],
      [{ Q104_SMTP_URL: 'smtp://hush' }, /Q104_ALERT_TO is not/],
      [{ Q104_ALERT_TO: 'a@b' }, /Q104_SMTP_URL is not/],
    ] as const
    for (const [env, message] of wrong) t.throws(() => receiversOf(env), { name: 'AlertSetupError', message })
    t.equal(receiversOf({}).size, 0)
  })
})

t.test('the dashboards in grafana/ are those that panels.ts makes', async (t) => {
  for (const [path, text] of dashboardFiles()) t.equal(readFileSync(`grafana/dashboards/${path}`, 'utf8'), text, path)
})
