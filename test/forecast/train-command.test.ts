import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { command } from '../../src/cli/train.ts'
import { parseWeights } from '../../src/forecast/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'q104-train-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

t.test('q104 train writes weights that can be read back', async (t) => {
  const out = join(folder, 'weights.json')
  const small = join(folder, 'small.yaml')
  writeFileSync(small, readFileSync('scenarios/tiny.yaml'))
  t.equal(await command.run(['--scenario', small, '--seed', '3', '--runs', '3', '--epochs', '1', '--out', out]), 0)
  const weights = parseWeights(readFileSync(out, 'utf8'), out)
  t.equal(weights.seed, 3)
  t.match(weights.config, { scenario: 'tiny', runs: 3, epochs: 1, seed: 3, units: 32 })
})

t.test('bad options are one clear error each, and nothing is written', async (t) => {
  const out = join(folder, 'none.json')
  const refused = (args: readonly string[], message: RegExp) =>
    t.rejects(command.run([...args, '--out', out]), { name: 'CliError', message })
  await refused(['--seed', 'x'], /--seed: found 'x', expected a whole number/)
  await refused(['--runs', '1'], /--runs: found 1, expected 3 to 1000/)
  await refused(['--epochs', '0'], /--epochs: found 0, expected 1 to 1000/)
  await refused(['--scenario', join(folder, 'no.yaml')], /no\.yaml: cannot be read \(ENOENT\)/)
  await t.rejects(command.run(['--out', join(folder, 'no', 'such.json')]), {
    name: 'CliError',
    message: /such\.json: cannot be written \(ENOENT\)/,
  })
  await refused(['what'], /nothing but options is expected, found: what/)
  t.notOk(existsSync(out))
  t.match(command.help, /Example: \.\/q104 train/)
})
