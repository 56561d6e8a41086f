import fc from 'fast-check'
import t from 'tap'
import { type ChannelMark, Ledger, LedgerError, type LedgerIdentity, readLedger } from '../../../src/protocol/index.ts'

const ME: LedgerIdentity = {
  node: 'gwa',
  run: 'tiny-1',
  ends: [
    { link: 3, end: 0 },
    { link: 1, end: 1 },
  ],
}
const tx = (slots: number, msgIds: number): ChannelMark => ({ channel: 6, side: 'sender', slots, msgIds })
const rx = (slots: number, msgIds: number): ChannelMark => ({ channel: 7, side: 'receiver', slots, msgIds })

/** Writes all that is to be written. */
function write(ledger: Ledger, file: Uint8Array): readonly ChannelMark[] {
  const durable: ChannelMark[] = []
  for (let next = ledger.nextWrite(); next !== undefined; next = ledger.nextWrite()) {
    file.set(next.bytes, next.offset)
    durable.push(...ledger.settle())
  }
  return durable
}

function faultOf(file: Uint8Array, identity = ME): string {
  try {
    Ledger.read(file, identity)
    return 'none'
  } catch (error) {
    return error instanceof LedgerError ? error.fault : String(error)
  }
}

t.test('marks come back as they were reserved, and only rise', async (t) => {
  const ledger = Ledger.create(ME)
  const file = ledger.image
  t.same(Ledger.read(file, ME).marks, [])
  ledger.reserve(tx(256, 1024))
  ledger.reserve(rx(0, 2000))
  t.same(write(ledger, file), [tx(256, 1024), rx(0, 2000)])
  ledger.reserve(tx(100, 5000))
  t.same(write(ledger, file), [tx(256, 5000)])
  t.same(Ledger.read(file, ME).marks, [tx(256, 5000), rx(0, 2000)])
  t.same(file, ledger.image)
  t.equal(ledger.nextWrite(), undefined)
  t.match(readLedger(file), { node: 'gwa', run: 'tiny-1', generation: 3, marks: [tx(256, 5000), rx(0, 2000)] })
  t.throws(() => ledger.reserve({ ...tx(1, 1), channel: 8 }), RangeError)
})

t.test('a mark is durable when both copies are written, and marks that come meanwhile go together', async (t) => {
  const ledger = Ledger.create(ME)
  ledger.reserve(tx(1, 1))
  const [first] = [ledger.nextWrite()]
  t.equal(first?.offset, 0)
  ledger.reserve(tx(2, 2))
  ledger.reserve(rx(3, 3))
  t.same(ledger.settle(), [])
  t.equal(ledger.nextWrite()?.offset, 4096, 'the second copy')
  t.same(ledger.settle(), [tx(1, 1)])
  t.ok(ledger.nextWrite())
  ledger.settle()
  t.ok(ledger.nextWrite())
  t.same(ledger.settle(), [tx(2, 2), rx(3, 3)])
})

t.test('whatever a crash leaves of the write under way, all that was durable is there', async () => {
  const steps = fc.array(fc.tuple(fc.nat(300), fc.nat(2000)), { minLength: 1, maxLength: 6 })
  const crash = fc.record({ step: fc.nat(13), keptBytes: fc.nat(4096), rest: fc.constantFrom('old', 'zero', 'noise') })
  fc.assert(
    fc.property(steps, crash, (growth, { step, keptBytes, rest }) => {
      const ledger = Ledger.create(ME)
      const file = ledger.image
      let [durable, wanted, writes] = [tx(0, 0), tx(0, 0), 0]
      for (const [slots, msgIds] of growth) {
        wanted = tx(wanted.slots + slots, wanted.msgIds + msgIds)
        ledger.reserve(wanted)
        for (let next = ledger.nextWrite(); next !== undefined; next = ledger.nextWrite()) {
          if (writes === step) {
            const torn = next.bytes.slice()
            const old = file.slice(next.offset, next.offset + torn.length)
            for (let at = keptBytes; at < torn.length; at += 1) {
              torn[at] = rest === 'old' ? (old[at] ?? 0) : rest === 'zero' ? 0 : (at * 7) & 0xff
            }
            file.set(torn, next.offset)
            const reread = Ledger.read(file, ME)
            const [mark] = reread.marks
            const isSafe = (mark?.slots ?? 0) >= durable.slots && (mark?.slots ?? 0) <= wanted.slots
            write(reread, file)
            return isSafe && JSON.stringify(Ledger.read(file, ME).marks) === JSON.stringify(reread.marks)
          }
          file.set(next.bytes, next.offset)
          writes += 1
          durable = ledger.settle().at(-1) ?? durable
        }
      }
      return true
    }),
    { numRuns: 1000 },
  )
})

t.test('what is no ledger of this node is refused and told apart', async (t) => {
  const ledger = Ledger.create(ME)
  ledger.reserve(tx(256, 1024))
  const file = ledger.image
  write(ledger, file)
  const changed = (change: (copy: Uint8Array) => void): Uint8Array => {
    const copy = file.slice()
    change(copy)
    return copy
  }
  const inBoth = (at: number, octet: number): Uint8Array =>
    changed((copy) => {
      copy[at] = octet
      copy[4096 + at] = octet
    })
  t.equal(faultOf(file), 'none')
  t.equal(faultOf(new Uint8Array(0)), 'truncated')
  t.equal(faultOf(file.subarray(0, 5000)), 'truncated')
  t.equal(faultOf(file.subarray(0, 4096)), 'truncated')
  t.equal(faultOf(changed((copy) => copy.fill(0))), 'notALedger')
  t.equal(faultOf(inBoth(200, 0xff)), 'torn')
  t.equal(faultOf(changed((copy) => copy.fill(0xff, 200, 201))), 'none', 'one copy is whole')
  t.equal(faultOf(changed((copy) => copy.copyWithin(4096, 0, 4096))), 'none', 'the second copy is no second copy')
  t.equal(faultOf(inBoth(11, 9)), 'version')
  t.equal(faultOf(file, { ...ME, node: 'gwb' }), 'foreign')
  t.equal(faultOf(file, { ...ME, run: 'tiny-2' }), 'foreign')
  t.equal(faultOf(file, { ...ME, ends: [{ link: 3, end: 0 }] }), 'foreign')
  t.equal(faultOf(file, { ...ME, ends: ME.ends.toReversed() }), 'none', 'the order of the links does not matter')
  const older = Ledger.create(ME).image
  for (let generation = 0; generation < 3; generation += 1) {
    ledger.reserve(tx(1000 + generation, 9999))
    write(ledger, file)
  }
  older.set(file.subarray(0, 4096))
  t.equal(faultOf(older), 'disagree', 'copies that no crash leaves')
  t.throws(() => Ledger.create({ ...ME, ends: [...ME.ends, { link: 3, end: 1 }, { link: 3, end: 0 }] }), RangeError)
  t.throws(() => Ledger.create({ ...ME, node: 'x'.repeat(64) }).image, RangeError)
})

t.test('any octets give a ledger or a fault', async () => {
  const good = Ledger.create(ME).image
  const change = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 12 })
  fc.assert(
    fc.property(change, fc.constantFrom(0, 17, 4096, 8192, 16_384), (changes, sizeBytes) => {
      const file = new Uint8Array(sizeBytes)
      file.set(good.subarray(0, sizeBytes))
      for (const [at, octet] of changes) if (at < sizeBytes) file[at] = octet
      const fault = faultOf(file)
      return /^(none|notALedger|version|truncated|torn|disagree|foreign)$/.test(fault)
    }),
    { numRuns: 1000 },
  )
})
