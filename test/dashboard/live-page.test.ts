import { setTimeout as sleep } from 'node:timers/promises'
import type { Page } from 'playwright-core'
import t from 'tap'
import type { LabState } from '../../src/dashboard/index.ts'
import { bits, signed } from '../../src/dashboard/page/format.ts'
import { LabUnderTest } from '../cli/lab-under-test.ts'
import { chromiumPath, keepPicture, openBrowser, openPage } from './browser.ts'

const SCENARIO = 'test/dashboard/two-ways.yaml'
const isRoot = process.getuid?.() === 0
const WAIT = { timeout: 30_000 }

t.test('the page of a live lab', { skip: chromiumPath === undefined && 'no chromium' }, async (t) => {
  const lab = new LabUnderTest('t-page', SCENARIO, '--restart', '--port', '0')
  await lab.printed(/processes up/)
  const url = urlOf(lab)
  const browser = await openBrowser()
  const { page, complaints } = await openPage(browser, 1600)
  t.teardown(async () => {
    await browser.close()
    lab.child.kill('SIGKILL')
  })

  await t.test('shows content at once and what the API gives, within a tick', async (t) => {
    await page.goto(url)
    await page.waitForSelector('.tile', WAIT)
    t.equal(new URL(page.url()).hash, '', 'the token does not stay in the address')
    const firstMs = await page.evaluate(`performance.getEntriesByName('first-contentful-paint')[0]?.startTime`)
    t.comment(`first content after ${Number(firstMs).toFixed(0)} ms`)
    await page.waitForSelector('.gauge svg', WAIT)
    const seen = await compared(page)
    t.ok(seen.stock.api.includes(seen.stock.page), JSON.stringify(seen.stock))
    t.ok(seen.frequency.api.includes(seen.frequency.page), JSON.stringify(seen.frequency))
    await shows(page, '#chain-table tbody tr:first-child .pill', /^OTP$/)
    t.ok(await isWithin(page, 1600), 'nothing sticks out at 1600 px')
    await keepPicture(page, 'live-1600')
  })

  await t.test('a link cut by its button turns red, its chains go round, and come back', async (t) => {
    await page.click('[data-link="cc-gwA"] .label')
    await page.click('button[data-action="cut"]')
    await page.waitForSelector('[data-link="cc-gwA"].down', WAIT)
    const stroke = await page.evaluate(`getComputedStyle(document.querySelector('[data-link="cc-gwA"] .line')).stroke`)
    t.equal(stroke, await page.evaluate(COLOUR_OF_BAD), 'the line has the colour of what is broken')
    await pathsAre(page, 'cc \u203a gwB \u203a rtu1')
    await shows(page, '#tiles', /1 down/)
    await shows(page, '#events', /By hand: link cc-gwA cut/)
    await keepPicture(page, 'link-cut')
    const state = await stateOf(page)
    t.match(
      state.links.find(({ id }) => id === 'cc-gwA'),
      { up: false, cut: true },
    )
    await page.click('button[data-action="restore"]')
    await page.waitForSelector('[data-link="cc-gwA"].up', WAIT)
    await pathsAre(page, 'cc \u203a gwA \u203a rtu1')
  })

  await t.test('a chain is switched off, the policy and the load change as asked', async (t) => {
    await page.click('button[aria-label="Disable chain agc-30"]')
    await page.waitForSelector('button[aria-label="Enable chain agc-30"]', WAIT)
    await until(page, ({ chains }) => chains.some(({ id, state }) => id === 'agc-30' && state === 'off'))
    await page.selectOption('#policy', 'static')
    await until(page, ({ run }) => run.policy === 'static')
    await page.selectOption('#load-bus', '16')
    await page.fill('#load-mw', '60')
    await page.click('#load-step button')
    await until(page, ({ grid }) => (grid?.maxAbsDeltaFHz ?? 0) > 0.001)
    await shows(page, '#events', /Load step of \+60 MW at bus 16/)
    t.pass('all were seen')
  })

  await t.test('loss added to a link lowers its key rate, and taking it away brings it back', async (t) => {
    const before = rateOf(await stateOf(page))
    await page.fill('.link-card input', '6')
    await page.click('.link-card form button')
    await until(page, (state) => rateOf(state) < before / 2)
    await page.fill('.link-card input', '0')
    await page.click('.link-card form button')
    await until(page, (state) => rateOf(state) > before / 2)
    t.pass('both were seen')
  })

  await t.test(
    'it goes on over a restart of the master, which is told again',
    { skip: !isRoot && 'needs root' },
    async (t) => {
      for (const pid of lab.pidsOf('cc')) process.kill(pid, 'SIGKILL')
      await page.locator('#tiles', { hasText: '7 of 8' }).waitFor(WAIT)
      await page.locator('#tiles', { hasText: '8 of 8' }).waitFor(WAIT)
      const planned = (wanted: string, as: string) => (state: LabState) =>
        state.chains.some(({ id, state: now }) => id === wanted && now === as)
      await until(page, planned('shedding-3', 'otp'))
      await until(page, planned('agc-30', 'off'))
      t.match(
        (await stateOf(page)).run,
        { policy: 'static' },
        'the chain is off and the policy the one that was chosen',
      )
      await shows(page, '#connection', /^live$/)
    },
  )

  await t.test('without the token it is to be read only, on a telephone too', async (t) => {
    const { page: narrow, complaints: narrowComplaints } = await openPage(browser, 390, 'dark')
    await narrow.goto(new URL('/', url).href)
    await narrow.waitForSelector('.tile', WAIT)
    await narrow.waitForSelector('#chain-table tbody tr', WAIT)
    t.equal(await narrow.textContent('#lock'), 'Read only')
    t.equal(await narrow.isDisabled('button[aria-label$="chain shedding-3"]'), true)
    t.ok(await isWithin(narrow, 390), 'nothing sticks out at 390 px')
    await keepPicture(narrow, 'live-390-dark')
    t.same(narrowComplaints, [])
    await narrow.close()
  })

  await t.test('every control is reached with the keyboard and has a name', async (t) => {
    const nameless = await page.evaluate(NAMELESS)
    t.same(nameless, [])
    await page.focus('[data-link="gwB-rtu1"]')
    await page.keyboard.press('Enter')
    t.match(await page.textContent('#link-box'), /gwB-rtu1/, 'Enter chooses a link')
  })

  await t.test('it says so when the run has ended, without a complaint until then', async (t) => {
    t.same(complaints, [])
    lab.child.kill('SIGINT')
    await page.locator('#connection', { hasText: 'the run has ended' }).waitFor(WAIT)
    await lab.finished
    t.same(await lab.leftovers(), [])
  })
})

/** Evaluated in the page. */
const COLOUR_OF_BAD = `(() => {
  const probe = document.createElement('i')
  probe.style.color = 'var(--bad)'
  document.body.append(probe)
  return getComputedStyle(probe).color
})()`

/** The controls without a name, as HTML. */
const NAMELESS = `[...document.querySelectorAll('button, input, select, [role="button"]')]
  .filter((element) => {
    const label = element.getAttribute('aria-label') ?? element.textContent ?? ''
    return label.trim() === '' && (element.labels?.length ?? 0) === 0
  })
  .map((element) => element.outerHTML)`

function urlOf(lab: LabUnderTest): string {
  const url = lab.said(/http:\/\/127\.0\.0\.1:\d+\/#token=\S+/)
  if (url === undefined) throw new Error('the run printed no address')
  return url
}

async function stateOf(page: Page): Promise<LabState> {
  const response = await fetch(new URL('/api/v1/state', page.url()))
  return (await response.json()) as LabState
}

async function until(page: Page, holds: (state: LabState) => boolean): Promise<void> {
  const deadlineMs = performance.now() + WAIT.timeout
  while (!holds(await stateOf(page))) {
    if (performance.now() > deadlineMs) throw new Error('it did not come to that')
    await sleep(100)
  }
}

/** Waits until an element shows this text: the page hears of what is done a moment after the centre. */
async function shows(page: Page, selector: string, text: RegExp): Promise<void> {
  await page.locator(selector, { hasText: text }).waitFor(WAIT)
}

/** Waits until every chain in the table goes this way. */
async function pathsAre(page: Page, way: string): Promise<void> {
  const deadlineMs = performance.now() + WAIT.timeout
  for (;;) {
    const paths = await page.locator('#chain-table .path').allTextContents()
    if (paths.every((path) => path.startsWith(way))) return
    if (performance.now() > deadlineMs) throw new Error(`the chains go ${paths.join(', ')}`)
    await sleep(100)
  }
}

function rateOf({ links }: LabState): number {
  return links.find(({ id }) => id === 'cc-gwA')?.rateBps ?? 0
}

async function isWithin(page: Page, width: number): Promise<boolean> {
  return Number(await page.evaluate('document.documentElement.scrollWidth')) <= width
}

/** Some ticks. */
const AFTER_MS = 1500

type Compared = { readonly page: string; readonly api: readonly string[] }

/** What two tiles show, and what the API gave in the ticks just before and after: either may hear of a tick first. */
async function compared(page: Page): Promise<{ readonly stock: Compared; readonly frequency: Compared }> {
  const stock: string[] = []
  const frequency: string[] = []
  const ask = async (): Promise<void> => {
    const { pool, grid } = await stateOf(page)
    stock.push(bits(pool?.books.poolBits ?? 0))
    frequency.push(`${signed(grid?.deltaFHz ?? 0, 3)} Hz`)
  }
  for (let round = 0; round < 8; round++) await ask()
  const [stockShown = '', frequencyShown = ''] = await page.locator('.tile-value').allTextContents()
  const deadlineMs = performance.now() + AFTER_MS
  while (!(stock.includes(stockShown) && frequency.includes(frequencyShown)) && performance.now() < deadlineMs)
    await ask()
  return { stock: { page: stockShown, api: stock }, frequency: { page: frequencyShown, api: frequency } }
}
