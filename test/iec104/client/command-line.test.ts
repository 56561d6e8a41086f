import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { parseArguments } from '../../../src/cli/client/options.ts'
import { linesOf } from '../../../src/cli/client/output.ts'
import { stepsOfLine } from '../../../src/cli/client/steps.ts'
import { wordsOf } from '../../../src/cli/client/words.ts'
import { CliError } from '../../../src/cli/errors.ts'
import { asduOf, cp56 } from '../../../src/protocol/index.ts'

const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')
const GOOD = { overflow: false, blocked: false, substituted: false, notTopical: false, invalid: false }
const WALL_MS = Date.UTC(2026, 4, 17, 12, 0, 1)

/** tap hooks into child processes by NODE_OPTIONS; these are not its business. */
function start(...args: readonly string[]): ChildProcess {
  const { NODE_OPTIONS: _, ...env } = process.env
  return spawn(process.execPath, [BIN, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] })
}

/** Runs `q104` to its end, with `input` on stdin. */
async function q104(args: readonly string[], input = ''): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = start(...args)
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr?.on('data', (chunk) => {
    stderr += chunk
  })
  child.stdin?.end(input)
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

/** `q104 server` on a free port. */
async function startServer(): Promise<{ port: string; stop: () => Promise<unknown> }> {
  const child = start('server', '--port', '0', '--json')
  for await (const line of createInterface({ input: child.stdout ?? process.stdin })) {
    const { name, port } = JSON.parse(line)
    if (name !== 'listening') continue
    child.stdout?.resume()
    const stop = (): Promise<unknown> => {
      const closed = once(child, 'close')
      child.kill('SIGTERM')
      return closed
    }
    return { port: `${port}`, stop }
  }
  throw new Error('the server ended')
}

const operation = (line: string) => {
  const [step] = stepsOfLine(wordsOf(line), 1)
  return step?.kind === 'operate' ? step.operation : step
}

t.test('words of operations: addresses, types by name and label, values, options', async (t) => {
  t.match(operation('gi'), { kind: 'interrogation', ca: 1, group: 0 })
  t.match(operation('gi 16 --ca 65535'), { ca: 65_535, group: 16 })
  t.match(operation('counters'), { kind: 'counterInterrogation', group: 5, action: 'read' })
  t.match(operation('counters 2 freeze-reset'), { group: 2, action: 'freezeAndReset' })
  t.match(operation('read 100'), { kind: 'read', ca: 1, ioa: 100 })
  t.match(operation('read 7 0x100'), { kind: 'read', ca: 7, ioa: 256 })
  t.match(operation('read 7 256'), { kind: 'read', ca: 7, ioa: 256 })
  t.match(operation('clock 2026-01-02T03:04:05Z'), { time: { wallMs: Date.UTC(2026, 0, 2, 3, 4, 5) } })
  t.match(operation('set 3 5 single on --sbo --qu short'), {
    kind: 'command',
    type: 'C_SC_NA_1',
    ca: 3,
    ioa: 5,
    mode: 'selectBeforeOperate',
    value: { sco: { on: true, qu: 1 } },
  })
  t.match(operation('set 5 double off --time-tag'), { type: 'C_DC_TA_1', value: { dco: { state: 1 } } })
  t.match(operation('set 5 c_rc_na_1 higher --cancel'), { mode: 'cancel', value: { rco: { step: 2 } } })
  t.match(operation('set 5 normalized -0.5 --ql=3'), { value: { value: -0.5, qos: { ql: 3 } } })
  t.match(operation('set 5 normalized 0.99999'), { value: { value: 0x7fff / 0x8000 } }, 'as near as the type can')
  t.match(operation('set 5 scaled -32768'), { value: { value: -32_768 } })
  t.match(operation('set 5 float 1e-3 --no-termination'), { value: { value: 0.001 }, awaitTermination: false })
  t.match(operation('set 5 bitstring 0xCAFE'), { value: { bsi: 0xcafe } })
  t.match(operation('param 5 float 2 --kind high'), { type: 'P_ME_NC_1', value: { qpm: { kind: 4 } } })
  t.match(operation('deactivate 5 --qpa 2'), { kind: 'parameterActivation', qpa: 2, active: false })
  t.match(operation('send "7a 01:06"'), { kind: 'send', asdu: Uint8Array.of(0x7a, 1, 6) })
  t.match(operation('file-get 3 --ioa 9 --to out'), { kind: 'getFile', file: { nof: 3, ioa: 9, ca: 1 }, toPath: 'out' })
  t.match(operation('monitor 1.5s'), { kind: 'monitor', durationMs: 1500 })
  const line = stepsOfLine(wordsOf('gi 3 counters freeze read 1 100 wait 5s # and no more'), 2)
  t.same(
    line.map(({ label }) => label),
    ['gi 3', 'counters freeze', 'read 1 100', 'wait 5s'],
  )
})

t.test('words that make no sense are told with what was expected', async (t) => {
  const bad = {
    'gi 17': /gi GROUP: found '17'/,
    'read x': /expected a whole number/,
    'read 70000 1': /expected 0..65535/,
    'set 1 single': /VALUE of set is needed/,
    'set 1 foo on': /expected a command type: single, double/,
    'set 1 single 2': /0..1/,
    'set 1 normalized 1': /-1 <= x < 1/,
    'set 1 scaled 1.5': /whole number -32768..32767/,
    'set 1 float one': /expected a number/,
    'set 1 single on --sbo --cancel': /do not go together/,
    'set 1 single on --qu': /value of --qu is needed/,
    'param 1 single on': /expected a parameter type/,
    'clock 1999-01-01T00:00Z': /2000 to 2099/,
    'send 7': /hexadecimal/,
    'wait soon': /duration/,
    toString: /there is no operation/,
  }
  for (const [line, message] of Object.entries(bad))
    t.throws(() => operation(line), { name: 'CliError', message }, line)
})

t.test('options before the first operation are for all, those after one for that one', async (t) => {
  const { ca, dial, json, station, steps } = parseArguments([
    ...['--ca', '9', '[::1]:24', '--json', 'gi', '--ca', '5', 'gi', '--timeout', '2s', '--t1=6s', '--oa', '3'],
  ])
  t.match(
    { ca, json, dial, station },
    {
      ca: 9,
      json: true,
      dial: { host: '::1', port: 24 },
      station: { oa: 3, timeoutMs: 2000, apci: { k: 12, w: 8, t1Ms: 6000, t2Ms: 4000 } },
    },
  )
  t.match(steps, [{ operation: { ca: 5 } }, { operation: { ca: 9 } }])
  t.match(parseArguments(['rtu']).dial, { host: 'rtu', port: 2404 })
  t.match(parseArguments(['rtu']).steps, [{ kind: 'operate', label: 'gi' }, { kind: 'monitor' }])
  const tls = ['--tls-ca', 'a', '--tls-cert', 'b', '--tls-key', 'c', '--tls-min', '1.3', '--tls-name', 'n']
  t.match(parseArguments(['rtu', ...tls]).dial, {
    port: 19_998,
    tls: { caFile: 'a', certFile: 'b', keyFile: 'c', minVersion: 'TLSv1.3', peerNames: ['n'] },
  })
  for (const args of [
    [],
    ['--json'],
    ['rtu', '--tls-ca', 'a'],
    ['rtu:x'],
    ['rtu', '--k', '0'],
    ['rtu', 'gi', '--bad'],
  ]) {
    t.throws(() => parseArguments(args), CliError, args.join(' '))
  }
  t.throws(() => parseArguments(['rtu', '--t1', '5s', '--t2', '9s']), CliError)
})

t.test('data in words and as JSON', async (t) => {
  const asdu = asduOf('M_ME_TF_1', {
    cot: 3,
    ca: 1,
    objects: [{ ioa: 604, value: { value: 49.98, qds: { ...GOOD, notTopical: true }, time: cp56(WALL_MS) } }],
  })
  t.same(linesOf({ kind: 'data', asdu }, false, WALL_MS), [
    '12:00:01.000 < M_ME_TF_1  CA 1    IOA 604    49.98                         not topical  spontaneous              2026-05-17T12:00:01.000Z',
  ])
  const [json = ''] = linesOf({ kind: 'data', asdu, id: 3 }, true, WALL_MS)
  t.match(JSON.parse(json), {
    time: '2026-05-17T12:00:01.000Z',
    kind: 'data',
    type: 'M_ME_TF_1',
    typeId: 36,
    cause: 'spontaneous',
    ca: 1,
    ioa: 604,
    text: '49.98',
    quality: ['notTopical'],
    elements: { value: 49.98, time: { text: '2026-05-17T12:00:01.000Z' } },
    operation: 3,
  })
  const refused = { kind: 'refused', cot: 47, negative: true, ca: 1, reason: 'unknown' } as const
  t.match(linesOf({ kind: 'result', label: 'read 5', result: refused }, false, WALL_MS), [/= read 5: refused by CA 1/])
})

t.test('q104 client and q104 server work out of the box', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-client-'))
  const { port, stop } = await startServer()
  const target = `127.0.0.1:${port}`
  const words = `gi gi 7 counters read 1 604 clock set 1 2001 single on --sbo set 2605 float 42.5 --sbo test file-dir
    file-get 1 --to ${dir}/1 wait 10ms gi 1 stopdt startdt gi 1 monitor 50ms`.split(/\s+/)
  const good = await q104(['client', target, ...words])
  t.equal(good.code, 0, 'all confirmed', { good })
  t.match(good.stdout, /= gi: confirmed, \d+ objects, answered after/)
  t.match(readFileSync(`${dir}/1`, 'utf8'), /q104 demo station/)
  writeFileSync(`${dir}/2`, 'anything')

  const json = await q104(['client', target, '--json', 'read', '601', 'read', '9999', 'file-put', '3', `${dir}/2`])
  t.equal(json.code, 1, 'something refused', { json })
  const lines = json.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const results = lines.filter(({ kind }) => kind === 'result').map(({ result }) => result)
  t.same(results, ['confirmed', 'refused', 'confirmed'])
  t.match(
    lines.find(({ label }) => label === 'read 9999'),
    { cot: 47, negative: true },
  )

  const piped = await q104(['client', target, '-'], 'gi 1\n\n# nothing\nnonsense\nread 1 1\n')
  t.equal(piped.code, 2)
  t.match(piped.stderr, /there is no operation 'nonsense'/)
  t.match(piped.stdout, /= read 1 1: confirmed/, 'a line that makes no sense does not end the run')
  await stop()
  const gone = await q104(['client', target, 'gi'])
  t.equal(gone.code, 1)
  t.match(gone.stdout, /nobody listens there/)
  t.match(await q104(['client', target, 'gi', '99']), { code: 2, stderr: /gi GROUP/ })
  rmSync(dir, { recursive: true })
})
