// Benchmarks: `npm run bench -- NAME [options]` runs build/bench/NAME.js; without a name it lists them.
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepare } from './setup.mjs'

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build', 'bench')

prepare({})
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.js'))
  .map((name) => name.slice(0, -3))
const [name, ...args] = process.argv.slice(2)
if (name === undefined || !names.includes(name)) {
  const list = ['usage: npm run bench -- NAME [options]', '', 'Benchmarks:', ...names.map((each) => `  ${each}`), '']
  process.stderr.write(`${name === undefined ? '' : `there is no benchmark '${name}'\n`}${list.join('\n')}`)
  process.exit(2)
}
const { bench } = await import(join(folder, `${name}.js`))
process.exitCode = await bench(args)
