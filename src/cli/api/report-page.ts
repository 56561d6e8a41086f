/** The page of a finished run as one file that needs no server: style, program and run stand in it. */
import { posix } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { FinishedRun } from './finished-run.ts'
import { type PageFile, pageFiles } from './page-files.ts'

/** Specifiers of the page's modules in the file's import map begin with this. */
const PREFIX = 'q104'
const MODULE = /^\/js\/.*\.js$/
const IMPORT = /(\bfrom\s*|\bimport\s*)(['"])(\.[^'"]+)\2/g

/** @param tables The run's report as HTML, shown below the page. */
export function reportPage({ head, records }: FinishedRun, tables: string): string {
  const files = pageFiles()
  const text = (path: string): string => files.get(path)?.text.toString('utf8') ?? ''
  const modules = [...files].filter(([path]) => MODULE.test(path))
  const imports = Object.fromEntries(modules.map(([path, file]) => [`${PREFIX}${path}`, moduleUrl(path, file)]))
  const run = gzipSync(JSON.stringify({ head, records })).toString('base64')
  const parts: readonly (readonly [string | RegExp, string])[] = [
    [/<link rel="icon"[^>]*>/, `<link rel="icon" href="data:image/svg+xml;base64,${base64(text('/icon.svg'))}">`],
    [/<link rel="stylesheet" href="\/vendor[^>]*>/, `<style>${text('/vendor/uplot.css')}</style>`],
    [/<link rel="stylesheet" href="\/style[^>]*>/, `<style>${text('/style.css')}</style>`],
    [/<script src="\/vendor[^>]*><\/script>/, script('', text('/vendor/uplot.js'))],
    [
      /<script type="module"[^>]*><\/script>/,
      `${script(' type="importmap"', JSON.stringify({ imports }))}\n${script(' type="text/plain" id="q104-run"', run)}`,
    ],
    ['</main>', `${tables}</main>`],
    ['</body>', `${script(' type="module"', `import '${PREFIX}/js/page/main.js'`)}\n</body>`],
  ]
  return parts.reduce((page, [place, part]) => page.replace(place, () => part), text('/'))
}

/** A module as an address; what it imports beside it is found by the import map. */
function moduleUrl(path: string, { text }: PageFile): string {
  const source = text
    .toString('utf8')
    .replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    .replace(IMPORT, (_, before: string, quote: string, relative: string) => {
      return `${before}${quote}${PREFIX}${posix.join(posix.dirname(path), relative)}${quote}`
    })
  return `data:text/javascript;base64,${base64(source)}`
}

function script(attributes: string, content: string): string {
  return `<script${attributes}>${content.replaceAll('</script', '<\\/script')}</script>`
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}
