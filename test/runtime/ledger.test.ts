import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { ChannelMark } from '../../src/runtime/contract.ts'
import { LedgerFile, LedgerFileError, type LedgerOptions } from '../../src/runtime/node-files.ts'

const folder = t.testdir()
let files = 0
const optionsFor = (file = join(folder, `${files++}.ledger`)): Omit<LedgerOptions, 'expect'> => {
  return { file, node: 'gwa', run: 'tiny-1', ends: [{ link: 3, end: 0 }] }
}
const tx = (slots: number): ChannelMark => ({ channel: 6, side: 'sender', slots, msgIds: 4 * slots })

/** Reserves, and waits until it is durable. */
function reserve(ledger: LedgerFile, mark: ChannelMark): Promise<ChannelMark> {
  return new Promise((resolve, reject) => {
    ledger.onDurable((durable) => durable.slots >= mark.slots && resolve(durable), reject)
    ledger.reserve(mark)
  })
}

async function refusal(options: LedgerOptions): Promise<string> {
  try {
    await (await LedgerFile.open(options)).close()
    return 'opened'
  } catch (error) {
    if (!(error instanceof LedgerFileError)) throw error
    return error.message
  }
}

t.test('a ledger is made once, with mode 0600, and gives its marks back to the next life', async (t) => {
  const options = optionsFor()
  const first = await LedgerFile.open({ ...options, expect: 'new' })
  t.same(first.recovered, [])
  t.same(await reserve(first, tx(256)), tx(256))
  await first.close()
  t.equal(statSync(options.file).mode & 0o777, 0o600)
  t.notOk(existsSync(`${options.file}.new`))
  const second = await LedgerFile.open({ ...options, expect: 'existing' })
  t.same(second.recovered, [tx(256)])
  await second.close()
})

t.test('many marks at once cost few writes, and every one of them becomes durable', async (t) => {
  const ledger = await LedgerFile.open({ ...optionsFor(), expect: 'new' })
  const seen: number[] = []
  const all = new Promise<void>((resolve, reject) => {
    ledger.onDurable(({ slots }) => {
      seen.push(slots)
      if (slots === 1000) resolve()
    }, reject)
  })
  for (let slots = 1; slots <= 1000; slots += 1) ledger.reserve(tx(slots))
  await all
  t.ok(seen.length < 10, `${seen.length} generations`)
  await ledger.close()
})

t.test('a ledger that is missing, there already, torn, cut off or foreign is refused by name', async (t) => {
  const options = optionsFor()
  t.match(await refusal({ ...options, expect: 'existing' }), /\.ledger: is missing in .*: without it nobody knows/)
  t.equal(await refusal({ ...options, expect: 'new' }), 'opened')
  t.match(await refusal({ ...options, expect: 'new' }), `ledger ${options.file}: is there already`)
  t.match(
    await refusal({ ...options, run: 'tiny-2', expect: 'existing' }),
    "foreign: it is of run 'tiny-1', not 'tiny-2'",
  )
  const image = readFileSync(options.file)
  const broken = (bytes: Uint8Array): LedgerOptions => {
    const other = optionsFor()
    writeFileSync(other.file, bytes, { mode: 0o600 })
    return { ...other, expect: 'existing' }
  }
  t.match(await refusal(broken(image.subarray(0, 4096))), /truncated: 4096 octets/)
  t.match(await refusal(broken(Buffer.alloc(0))), /truncated: the file is empty/)
  t.match(await refusal(broken(Buffer.alloc(8192, 'x'))), /notALedger: neither copy is whole/)
  const torn = Buffer.from(image)
  torn[170] = 0xff
  torn[4096 + 170] = 0xff
  t.match(await refusal(broken(torn)), /torn: neither copy is whole: copy 0: its CRC is wrong; copy 1/)
  const half = Buffer.from(image)
  half[170] = 0xff
  const mended = broken(half)
  t.equal(await refusal(mended), 'opened', 'one copy is enough')
  t.same(readFileSync(mended.file), image, 'and the other is put right')
})

t.test('a ledger that others may write, or that has two names, is refused', async (t) => {
  const options = optionsFor()
  await (await LedgerFile.open({ ...options, expect: 'new' })).close()
  const copy = optionsFor()
  copyFileSync(options.file, copy.file)
  chmodSync(copy.file, 0o622)
  t.match(await refusal({ ...copy, expect: 'existing' }), /others may write it \(mode 622\)/)
  linkSync(options.file, `${options.file}.twin`)
  t.match(await refusal({ ...options, expect: 'existing' }), /no plain file of one name/)
  const link = optionsFor()
  symlinkSync(options.file, link.file)
  t.match(await refusal({ ...link, expect: 'existing' }), /no plain file of one name/)
})

t.test('after SIGKILL at any moment the ledger has every mark that was said to be durable', async (t) => {
  const options = optionsFor()
  await (await LedgerFile.open({ ...options, expect: 'new' })).close()
  let told = 0
  for (let life = 0; life < 6; life += 1) {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./ledger-child.js', import.meta.url)), options.file])
    told = Math.max(told, await lastToldBefore(child, 20 + 17 * life))
    const ledger = await LedgerFile.open({ ...options, expect: 'existing' })
    const [mark] = ledger.recovered
    t.ok(mark !== undefined && mark.slots >= told, `life ${life}: ${mark?.slots} reserved, ${told} told`)
    await ledger.close()
  }
  t.ok(told > 0)
})

/** Kills the child `delayMs` after its first word; gives the last number it wrote. */
async function lastToldBefore(child: ChildProcess, delayMs: number): Promise<number> {
  let text = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  if (child.stdout !== null) await once(child.stdout, 'data')
  await new Promise((resolve) => setTimeout(resolve, delayMs))
  child.kill('SIGKILL')
  await once(child, 'close')
  return Math.max(0, ...text.split('\n').slice(0, -1).map(Number))
}
