// Benchmarks: `npm run bench -- NAME [options]` runs build/bench/NAME.js; without a name it lists them; --help explains one.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepare } from './setup.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, 'build', 'bench')

prepare({})
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.js'))
  .map((name) => name.slice(0, -3))
const [name, ...args] = process.argv.slice(2)
if (name === undefined || !names.includes(name)) {
  const list = [
    'usage: npm run bench -- NAME [options]; npm run bench -- NAME --help explains one',
    '',
    'Benchmarks:',
    ...names.map((each) => `  ${each}`),
    '',
    'Example: npm run bench -- engine',
    '',
  ]
  process.stderr.write(`${name === undefined ? '' : `there is no benchmark '${name}'\n`}${list.join('\n')}`)
  process.exit(2)
}
if (args.includes('--help')) {
  // What a benchmark is for and takes stands in the first comment of its file.
  const [, head = ''] = /\/\*\*([\s\S]*?)\*\//.exec(readFileSync(join(root, 'bench', `${name}.ts`), 'utf8')) ?? []
  process.stdout.write(`${head.replaceAll(/^ \* ?/gm, '').trim()}\n`)
  process.exit(0)
}
const { bench } = await import(join(folder, `${name}.js`))
process.exitCode = await bench(args)
