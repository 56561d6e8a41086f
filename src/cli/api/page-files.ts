/** The page's files: a fixed list, so that no path from outside ever reaches the file system. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type PageFile = { readonly type: string; readonly text: Buffer }

/** `build/src/cli/api` -> the project's root. */
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url))
const SOURCES = join(ROOT, 'src', 'dashboard', 'page')
const MODULES = join(ROOT, 'build', 'src', 'dashboard')
const UPLOT = join(ROOT, 'node_modules', 'uplot', 'dist')

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}

/** All files by their path, read once. The page's modules are those that the build made. */
export function pageFiles(): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>()
  const add = (path: string, file: string): void => {
    files.set(path, { type: TYPES[file.slice(file.lastIndexOf('.') + 1)] ?? 'text/plain', text: readFileSync(file) })
  }
  add('/', join(SOURCES, 'index.html'))
  add('/style.css', join(SOURCES, 'style.css'))
  add('/icon.svg', join(SOURCES, 'icon.svg'))
  add('/vendor/uplot.js', join(UPLOT, 'uPlot.iife.min.js'))
  add('/vendor/uplot.css', join(UPLOT, 'uPlot.min.css'))
  for (const name of readdirSync(MODULES)) if (name.endsWith('.js')) add(`/js/${name}`, join(MODULES, name))
  for (const name of readdirSync(join(MODULES, 'page'))) {
    if (name.endsWith('.js')) add(`/js/page/${name}`, join(MODULES, 'page', name))
  }
  return files
}
