import { readFileSync } from 'node:fs'
import t from 'tap'
import type { TaskRecord } from '../../src/experiment/index.ts'
import { LabUnderTest, q104 } from './lab-under-test.ts'

t.test('control centres are processes, and grants are messages between them', async (t) => {
  const lab = new LabUnderTest('t-areas', 'test/cli/two-areas.yaml', '--keylog')
  const { code, stdout, stderr } = await lab.finished
  t.equal(code, 0, stderr + stdout)
  const metrics = lab.metrics()
  t.match(metrics, { valid: true, booksBalanced: true })
  const events = readFileSync(lab.file('events.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const upMs = Math.max(...events.filter(({ name }) => name === 'link.up').map(({ tMs }) => tMs))
  const lost = (metrics['lost'] as TaskRecord[]).filter(({ issuedMs }) => issuedMs > upMs)
  t.same(
    lost.filter(({ outcome }) => outcome === 'failed'),
    [],
    'once links are up every command and sample arrives',
  )
  const said = new Map(
    events.flatMap(({ name, node, round, grants }) => {
      return name === 'game.round' && node === 'tso' ? [[round, String(grants)]] : []
    }),
  )
  t.ok(said.size >= 6, `${said.size} rounds`)
  for (const [node, agent] of [
    ['dso1', 'DSO1'],
    ['dso2', 'DSO2'],
  ]) {
    const heard = events.filter((event) => event.name === 'game.grant' && event.node === node)
    t.ok(heard.length >= said.size - 2, `${node} was granted key ${heard.length} times`)
    t.ok(heard.every(({ round, grantBits }) => said.get(round)?.includes(`${agent} ${grantBits}`)))
    t.ok(
      events.some(({ name, node: from }) => name === 'task.issued' && from === node),
      `${node} commands its own stations`,
    )
  }
  t.match(stdout, /Game between control centres/)
  const decoded = q104('decode', lab.file('capture.pcapng'), '--keys', lab.file('keys.log'))
  t.match(decoded.stdout, / grant {2}round \d+ {2}OA 1 {2}CA 2 {2}grantBits \d+/, 'the capture shows the grants')
  t.match(decoded.stdout, / offer {2}round \d+ {2}OA 3 {2}CA 1 /)
  t.equal(q104('audit', lab.out).code, 0, 'no key bit was used twice')
  t.match(q104('explain', lab.out, '--at', '4s').stdout, /agc-30/)
  t.same(await lab.leftovers(), [])
})
