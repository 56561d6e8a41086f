/** A browser for the tests of the page: Debian's Chromium, headless. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'

const PATHS = ['/usr/bin/chromium', join(process.cwd(), '.q104', 'tools', 'usr', 'bin', 'chromium')]
/** Where pictures of the page are kept; not in git. */
const ARTEFACTS = join(process.cwd(), 'test-artefacts')

/** Where the browser is, or undefined when there is none on this machine. */
export const chromiumPath = PATHS.find((path) => existsSync(path))

export async function openBrowser(): Promise<Browser> {
  // A container lets root make no sandbox; the page is ours.
  return chromium.launch({ executablePath: chromiumPath ?? '', args: ['--no-sandbox', '--disable-gpu'] })
}

/** A page of this width whose complaints are gathered: errors on the console, exceptions, requests that failed. */
export async function openPage(browser: Browser, width: number, colorScheme: 'light' | 'dark' = 'light') {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme })
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  return { page, complaints }
}

export async function keepPicture(page: Page, name: string): Promise<void> {
  mkdirSync(ARTEFACTS, { recursive: true })
  await page.screenshot({ path: join(ARTEFACTS, `${name}.png`), fullPage: true })
}
