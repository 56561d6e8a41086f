import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { serveApi } from '../../src/cli/api/api-server.ts'
import { finishedRun, readRun, sourceOfRun } from '../../src/cli/api/finished-run.ts'
import { reportPage } from '../../src/cli/api/report-page.ts'
import { layoutOf } from '../../src/dashboard/layout.ts'
import { chain } from '../../src/experiment/chain-dsl.ts'
import { parseScenario, planOf, worldOf } from '../../src/experiment/index.ts'
import type { Finished } from '../cli/lab-under-test.ts'
import { chromiumPath, keepPicture, openBrowser, openPage } from './browser.ts'

const scenario = {
  ...parseScenario(readFileSync('scenarios/ieee39.yaml', 'utf8'), 'ieee39.yaml'),
  durationS: 30,
}
const records = worldOf(planOf(scenario)).run()
const context = { lab: 'ieee39', version: '0', isolation: 'virtual', impairment: 'virtual' }
const run = finishedRun(scenario, context, records)
/** The built command. */
const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')
const WAIT = { timeout: 30_000 }

t.test(
  'a finished run is played and wound on its page',
  { skip: chromiumPath === undefined && 'no chromium' },
  async (t) => {
    const server = await serveApi({ source: sourceOfRun(run), version: '0' }, { host: '127.0.0.1', port: 0 })
    const browser = await openBrowser()
    t.teardown(async () => {
      await browser.close()
      await server.close()
    })
    const { page, complaints } = await openPage(browser, 1600)
    await page.goto(`http://127.0.0.1:${server.port}/`)
    await page.waitForSelector('#player:not([hidden]) input', WAIT)
    t.equal(await page.textContent('#connection'), 'replay')
    const atEnd = await page.textContent('#events')
    t.match(atEnd, /Load step of \+400 MW at bus 16/)
    t.match(atEnd, /Link cc-gwA is broken/)
    await page.fill('#player input', '9500')
    const before = await page.textContent('#events')
    t.notMatch(before, /Load step/, 'not yet at 9.5 s')
    t.match(await page.textContent('#run-time'), /^9\.5 s/)
    await page.selectOption('#player select', '20')
    await page.click('#player button')
    await page.locator('#events', { hasText: 'MW shed at bus' }).waitFor(WAIT)
    await page.click('#player button')
    t.equal(await page.isDisabled('#policy'), true, 'the past takes no orders')
    await keepPicture(page, 'replay-1600')
    t.same(complaints, [])
  },
)

t.test(
  'report.html is the same page without a server',
  { skip: chromiumPath === undefined && 'no chromium' },
  async (t) => {
    const file = join(t.testdir(), 'report.html')
    const html = reportPage(run, '<section class="panel p-report"><p>The report</p></section>')
    writeFileSync(file, html)
    t.notMatch(html, /(?:src|href)="(?:\/|http)/, 'nothing is loaded from anywhere')
    const browser = await openBrowser()
    t.teardown(() => browser.close())
    const { page, complaints } = await openPage(browser, 390)
    await page.goto(`file://${file}`)
    await page.waitForSelector('#player:not([hidden]) input', WAIT)
    t.match(await page.textContent('#events'), /Load step of \+400 MW at bus 16/)
    t.equal(await page.locator('#chain-table tbody tr').count(), 17)
    t.equal(await page.textContent('.p-report'), 'The report')
    t.ok(Number(await page.evaluate('document.documentElement.scrollWidth')) <= 390, 'nothing sticks out at 390 px')
    await keepPicture(page, 'report-390')
    t.same(complaints, [])
  },
)

t.test('a folder that is no run is refused with the file that is missing', async (t) => {
  const dir = t.testdir({ 'scenario.yaml': readFileSync('scenarios/tiny.yaml', 'utf8') })
  t.throws(() => readRun(dir), { message: /metrics\.json: cannot be read \(ENOENT\)/ })
  t.throws(() => readRun(join(dir, 'nowhere')), { message: /scenario\.yaml: cannot be read/ })
  writeFileSync(join(dir, 'metrics.json'), '{')
  t.throws(() => readRun(dir), { message: /metrics\.json: is no JSON/ })
})

t.test('in the diagram no two nodes lie on each other, at any width', async (t) => {
  for (const width of [320, 390, 600, 900]) {
    const { nodes, links, height } = layoutOf(run.head, width)
    t.equal(links.length, run.head.links.length)
    const overlaps = nodes.flatMap((a, index) =>
      nodes
        .slice(index + 1)
        .filter((b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height)
        .map((b) => `${a.id} ${b.id}`),
    )
    t.same(overlaps, [], `${width} px`)
    t.ok(nodes.every(({ x, y, width: w, height: h }) => x >= 0 && x + w <= width && y >= 0 && y + h <= height))
  }
})

t.test('chains come from a TypeScript or YAML file that the scenario names', async (t) => {
  const tiny = (file: string): string =>
    readFileSync('scenarios/tiny.yaml', 'utf8').replace('\ntasks:', `\nchains: { file: ${file} }\n\ntasks:`)
  const program = `import { chain } from 'q104'
const way: readonly string[] = ['cc', 'gwA', 'rtu1']
export const chains = [chain({ id: 'a', taskType: 'agc', cryptoMode: 'adaptive', path: [...way, 'gen30'], deadlineMs: 1500 })]
`
  const dir = t.testdir({
    'ts.yaml': tiny('chains.ts'),
    'chains.ts': program,
    'yaml.yaml': tiny('chains.yaml'),
    'chains.yaml': 'chains:\n  - { id: b, taskType: agc, path: [cc, gwA, rtu1, gen30] }\n',
    'wrong.yaml': tiny('wrong-chains.yaml'),
    'wrong-chains.yaml': '- { id: b, taskType: agc, path: [cc, rtu1, gen30] }\n',
    'half.yaml': tiny('half-chains.yaml'),
    'half-chains.yaml': '- { id: a, taskType: agc, path: [cc, gwA, rtu1, gen30] }\n- { id: b }\n',
    'writes.yaml': tiny('writes.ts'),
    'writes.ts': `import { writeFileSync } from 'node:fs'\nwriteFileSync('/tmp/q104-written', 'x')\nexport const chains = []\n`,
    'broken.yaml': tiny('broken.ts'),
    'broken.ts': 'export const chains = [',
    'other.yaml': tiny('chains.txt'),
    'gone.yaml': tiny('gone.ts'),
  })
  // In a process of its own, for tap's hooks reach into those that we start from here.
  const validate = (name: string): Finished => {
    const args = ['-i', `PATH=${process.env['PATH']}`, process.execPath, BIN, 'validate', join(dir, `${name}.yaml`)]
    const { status, stdout, stderr } = spawnSync('env', args, { encoding: 'utf8' })
    return { code: status, stdout, stderr }
  }
  for (const name of ['ts', 'yaml']) t.match(validate(name), { code: 0, stdout: /valid .*chains 1\)/ }, name)
  const refused: readonly (readonly [string, RegExp])[] = [
    ['wrong', /wrong-chains\.yaml:1:\d+: .*path\[1\]: path through no link, found cc to rtu1, expected a link/],
    ['half', /half-chains\.yaml:2:\d+: .*path: missing/],
    ['writes', /writes\.ts: .*Access to this API has been restricted/],
    ['broken', /broken\.ts.*error TS1005/],
    ['other', /found 'chains\.txt', expected a file that ends in/],
    ['gone', /gone\.ts: cannot be read \(ENOENT\)/],
  ]
  for (const [name, message] of refused) t.match(validate(name), { code: 2, stderr: message }, name)
})

t.test('a chain in TypeScript says with one word which suites it may have', async (t) => {
  const path = ['cc', 'gwA', 'rtu1', 'gen30']
  const of = (cryptoMode?: 'otp' | 'aes' | 'adaptive') =>
    chain({ id: 'a', taskType: 'agc', path, ...(cryptoMode !== undefined && { cryptoMode }) })
  t.same(of('adaptive'), { id: 'a', taskType: 'agc', path, requiredSuite: 'otp', allowedSuites: ['otp', 'aes'] })
  t.same(of('aes'), { id: 'a', taskType: 'agc', path, requiredSuite: 'aes', allowedSuites: ['aes'] })
  t.same(of(), { id: 'a', taskType: 'agc', path })
})
