import { appendFileSync, chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseRecords, Recorder } from '../../src/runtime/index.ts'
import { KeyLogFile, keyLogWarning } from '../../src/runtime/node-files.ts'

const folder = t.testdir()

t.test('a key log has its header once, a record a line, mode 0600, and goes on after a restart', async (t) => {
  const path = join(folder, 'keys.log')
  for (const text of ['R 6 16 00112233445566778899aabbccddeeff', 'K 6 8 a0a1a2a3']) {
    const log = new KeyLogFile(path)
    log.write({ line: () => text })
    log.close()
  }
  t.equal(readFileSync(path, 'utf8'), '# q3p key log 1\nR 6 16 00112233445566778899aabbccddeeff\nK 6 8 a0a1a2a3\n')
  t.equal(statSync(path).mode & 0o777, 0o600)
})

t.test('a file that others may read gets no key', async (t) => {
  const path = join(folder, 'open.log')
  writeFileSync(path, '')
  chmodSync(path, 0o644)
  t.throws(() => new KeyLogFile(path), /open\.log: others may read it \(mode 644, not 600\)/)
  t.equal(readFileSync(path, 'utf8'), '')
})

t.test('the warning says what is at stake', async (t) => {
  t.match(keyLogWarning('keys.log'), /WARNING.*keys\.log.*every key.*clear/)
})

t.test('a process that was killed in the middle of a line of events spoils no line of the next', async (t) => {
  const path = join(folder, 'events.jsonl')
  const first = new Recorder(path, 'cc')
  first.record({ name: 'one' }, 1)
  await first.close()
  appendFileSync(path, '{"tMs":2,"node":"cc","name":"tw')
  const second = new Recorder(path, 'cc')
  second.record({ name: 'three' }, 3)
  await second.close()
  t.same(
    parseRecords(readFileSync(path, 'utf8')).map(({ name }) => name),
    ['one', 'three'],
  )
})
