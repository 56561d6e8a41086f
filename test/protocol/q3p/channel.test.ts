import { createCipheriv, createDecipheriv } from 'node:crypto'
import fc from 'fast-check'
import sodium from 'libsodium-wrappers-sumo'
import t from 'tap'
import {
  cryptoReady,
  type FrameSuite,
  MAX_DATAGRAM_BYTES,
  newDatagram,
  parseHeader,
  Q3pChannel,
  type Sealed,
  WINDOW_MESSAGES,
} from '../../../src/protocol/index.ts'
import { CheckCache } from '../../../src/protocol/q3p/check-cache.ts'
import { GcmCheck } from '../../../src/protocol/q3p/gcm-check.ts'
import { verifyTag, writeTag } from '../../../src/protocol/q3p/poly1305.ts'
import { random } from './link-world.ts'

await cryptoReady
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')
const OPTIONS = { aesMaxMessages: 64, aesMaxMs: 60_000 }
const SUITES: readonly FrameSuite[] = ['otp', 'aes', 'auth']

/** Both ends of link 3 with the same key, the first one's epoch open at both. */
function pair(slots = 20_000, key = randomKey(slots)): { a: Q3pChannel; b: Q3pChannel } {
  const [a, b] = [new Q3pChannel({ link: 3, end: 0, ...OPTIONS }), new Q3pChannel({ link: 3, end: 1, ...OPTIONS })]
  for (const end of [a, b]) end.addKey({ channel: 6, slot: 0, bytes: key })
  b.open(sealed(a.handshake(() => new Uint8Array(20))))
  return { a, b }
}

function randomKey(slots: number): Uint8Array {
  const rng = random(42)
  return Uint8Array.from({ length: 4 * slots }, () => rng() * 256)
}

function sealed(result: Sealed | { readonly wait: number }): Uint8Array {
  if ('wait' in result) throw new Error(`wait for ${result.wait}`)
  return result.datagram
}

t.test('frames are octet for octet what the layout says', async (t) => {
  // The first half of r is zero, and with r = 0 Poly1305 gives s itself: every octet below can be read off the key.
  const key = new Uint8Array(80)
  key.set(bytes('a0a1a2a3a4a5a6a7a8a9aaabacadaeaf'), 16)
  key.set(bytes('ffffffffffffffff'), 32)
  key.set(bytes('b0b1b2b3b4b5b6b7b8b9babbbcbdbebf'), 40)
  key.set(bytes('000102030405060708090a0b0c0d0e0f'), 56)
  const a = new Q3pChannel({ link: 3, end: 0, ...OPTIONS })
  a.addKey({ channel: 6, slot: 0, bytes: key })
  t.equal(
    hex(sealed(a.handshake(() => bytes('51334831 0000000000000007 0000000000000000')))),
    hex(
      bytes(`00000038 00000000 42 00 0006 00000000 00000000
             51334831 0000000000000007 0000000000000000 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf`),
    ),
    'HANDSHAKE: plaintext, key from slot 0',
  )
  t.equal(
    hex(sealed(a.seal('data', bytes('680407000000'), 'otp', 0))),
    hex(bytes('0000002a 00000001 43 04 0006 00000008 0000000a 97fbf8ffffff b0b1b2b3b4b5b6b7b8b9babbbcbdbebf')),
    'OTP: pad at slot 8, s at slot 10',
  )
  const aes = sealed(a.seal('data', bytes('680443000000'), 'aes', 0))
  t.equal(hex(aes.subarray(0, 20)), hex(bytes('0000002a 00000002 4b 04 0006 0000000e 00000000')), 'AES: key at slot 14')
  const cipher = createCipheriv(
    'aes-128-gcm',
    bytes('000102030405060708090a0b0c0d0e0f'),
    bytes('0006 0000 0000000000000002'),
  )
  cipher.setAAD(aes.subarray(0, 20))
  const text = Buffer.concat([cipher.update(bytes('680443000000')), cipher.final(), cipher.getAuthTag()])
  t.equal(hex(aes.subarray(20)), hex(text))
  t.equal(hex(aes.subarray(20)), 'b3334735872084c8100449e33ed2c0233ec8c03839f3')
  t.same(a.seal('data', bytes('680443000000'), 'otp', 0), { wait: 6 }, 'no slots left')
})

t.test('Poly1305 gives the tag of RFC 8439, 2.5.2, and that of the libsodium wrapper', async (t) => {
  const [r, s] = [bytes('85d6be7857556d337f4452fe42d506a8'), bytes('0103808afb0db2fd4abff6af4149f51b')]
  const tag = new Uint8Array(16)
  writeTag(Buffer.from('Cryptographic Forum Research Group'), r, s, tag, 0)
  t.equal(hex(tag), 'a8061dc1305136c6c22b8baf0c0127a9')
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: MAX_DATAGRAM_BYTES - 16 }), key, (message, k) => {
      const frame = new Uint8Array(message.length + 16)
      frame.set(message)
      writeTag(message, k.subarray(0, 16), k.subarray(16), frame, message.length)
      const isSame = hex(frame.subarray(message.length)) === hex(sodium.crypto_onetimeauth(message, k))
      return isSame && verifyTag(frame, k.subarray(0, 16), k.subarray(16))
    }),
  )
})

t.test('every header survives encoding, and any octets give a header or a reason', async (t) => {
  const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
  const header = fc.record({
    msgId: u32,
    suite: fc.constantFrom<FrameSuite>(...SUITES),
    command: fc.constantFrom('load' as const, 'loadRequest' as const, 'store' as const, 'data' as const),
    channel: fc.integer({ min: 0, max: 0xffff }),
    eKeyId: u32,
    aKeyId: u32,
  })
  fc.assert(
    fc.property(header, fc.integer({ min: 0, max: 255 }), (value, payloadBytes) => {
      return JSON.stringify(parseHeader(newDatagram(value, payloadBytes))) === JSON.stringify(value)
    }),
  )
  const { b } = pair()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 320 }), (octets) => {
      const read = parseHeader(octets)
      return ('drop' in read || 'suite' in read) && 'drop' in b.open(octets)
    }),
    { numRuns: 1000 },
  )
  t.throws(
    () => newDatagram({ msgId: 0, suite: 'aes', command: 'data', channel: 0, eKeyId: 0, aKeyId: 0 }, 256),
    RangeError,
  )
})

t.test('the checks come in order: length, version, flags, command, channel, window, key, tag', async (t) => {
  const { a, b } = pair()
  const good = sealed(a.seal('data', new Uint8Array(20), 'otp', 0))
  const change = (changes: Record<number, number>, from = good): Uint8Array =>
    Uint8Array.from(from, (octet, index) => changes[index] ?? octet)
  const everythingWrong = { 3: 1, 8: 0xff, 9: 9, 11: 99, 7: 0, 12: 255, 40: 0 }
  const fix = (...offsets: number[]): Uint8Array =>
    change(Object.fromEntries(Object.entries(everythingWrong).filter(([offset]) => !offsets.includes(Number(offset)))))
  const drops = [
    fix(),
    good.subarray(0, 35),
    new Uint8Array(MAX_DATAGRAM_BYTES + 1),
    fix(3),
    change({ 8: 0x47 }),
    change({ 8: 0x53 }),
    change({ 8: 0x40 }),
    change({ 9: 0 }),
    fix(3, 8),
    fix(3, 8, 9),
    fix(3, 8, 9, 11),
    change({ 12: 0x70 }),
    change({ 14: 0x60 }),
    change({ 15: 2 }),
    change({ 40: 0 }),
  ].map((datagram) => b.open(datagram))
  t.same(
    drops.map((result) => ('drop' in result ? result.drop : 'opened')),
    [
      'length',
      'length',
      'length',
      'version',
      'flags',
      'flags',
      'flags',
      'flags',
      'command',
      'channel',
      'replayed',
      'noKeyYet',
      'noKeyYet',
      'keyGone',
      'tag',
    ],
  )
  t.match(b.open(good), { command: 'data', suite: 'otp', msgId: 1 })
})

t.test('what one end seals the other opens, once, in any suite and size', async (t) => {
  const { a, b } = pair(200_000)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 255 }), fc.constantFrom<FrameSuite>(...SUITES), (payload, suite) => {
      const datagram = sealed(a.seal('data', payload, suite, 0))
      const opened = b.open(datagram)
      const again = b.open(datagram)
      return !('drop' in opened) && hex(opened.payload) === hex(payload) && 'drop' in again && again.drop === 'replayed'
    }),
    { numRuns: 1000 },
  )
  const [[tx], [, rx]] = [a.books(), b.books()]
  t.equal(tx.usedSlots, rx.usedSlots)
})

t.test('one flipped bit anywhere drops the frame, consumes nothing and leaves the true one good', async (t) => {
  for (const suite of SUITES) {
    const { a, b } = pair()
    const datagram = sealed(
      a.seal(
        'data',
        Uint8Array.from({ length: 21 }, (_, index) => index),
        suite,
        0,
      ),
    )
    const before = JSON.stringify(b.books())
    const opened: number[] = []
    for (let bit = 0; bit < datagram.length * 8; bit += 1) {
      const forged = Uint8Array.from(datagram, (octet, index) =>
        index === bit >> 3 ? octet ^ (1 << (bit & 7)) : octet,
      )
      if (!('drop' in b.open(forged))) opened.push(bit)
    }
    t.same(opened, [], suite)
    t.equal(JSON.stringify(b.books()), before)
    t.match(b.open(datagram), { suite })
  }
})

t.test('a reflected frame is a foreign one', async (t) => {
  const { a, b } = pair()
  const datagram = sealed(a.seal('data', new Uint8Array(9), 'aes', 0))
  t.same(a.open(datagram), { drop: 'channel' })
  t.equal(b.addKey({ channel: 9, slot: 0, bytes: new Uint8Array(4) }), 'foreign')
})

t.test('late frames find their key within the window, whatever the order, and none beyond it', async (t) => {
  const { a, b } = pair(40_000)
  const rng = random(7)
  const payload = new Uint8Array(30)
  const all = Array.from({ length: 2600 }, () => sealed(a.seal('data', payload, rng() < 0.5 ? 'otp' : 'aes', 0)))
  const newest = all.length - 1
  const reason = (index: number): unknown => {
    const result = b.open(all[index] ?? payload)
    return 'drop' in result ? result.drop : 'opened'
  }
  t.equal(reason(newest), 'opened')
  const order = Array.from({ length: WINDOW_MESSAGES - 1 }, (_, back) => newest - 1 - back).sort(() => rng() - 0.5)
  t.same([...new Set(order.map(reason))], ['opened'])
  t.same([...new Set(order.map(reason))], ['replayed'])
  t.equal(reason(newest - WINDOW_MESSAGES), 'tooOld')
})

t.test('a lost frame can come as long as the window reaches back to it, however long the stream gets', async (t) => {
  const { a, b } = pair(8)
  let at = 8
  const lost: Uint8Array[] = []
  let dropped = 0
  for (let round = 0; round < 40; round += 1) {
    const block = randomKey(2000)
    for (const end of [a, b]) end.addKey({ channel: 6, slot: at, bytes: block })
    at += 2000
    const frames = Array.from({ length: 100 }, () => sealed(a.seal('data', new Uint8Array(60), 'otp', 0)))
    lost.push(...frames.slice(0, 10))
    dropped += frames.slice(10).filter((frame) => 'drop' in b.open(frame)).length
  }
  t.equal(dropped, 0)
  const results = lost.map((frame) => b.open(frame)).map((result) => ('drop' in result ? result.drop : 'opened'))
  t.same(new Set(results), new Set(['tooOld', 'opened']))
  t.equal(a.books()[0].usedSlots, b.books()[1].usedSlots)
})

t.test('an AES key serves its messages and its time, then costs four slots anew', async (t) => {
  const { a, b } = pair()
  const keyIds = (times: readonly number[]): number[] =>
    times.map((nowMs) => {
      const datagram = sealed(a.seal('data', new Uint8Array(6), 'aes', nowMs))
      const header = parseHeader(datagram)
      return 'drop' in header || 'drop' in b.open(datagram) ? -1 : header.eKeyId
    })
  t.same([...new Set(keyIds(new Array(65).fill(0)))], [8, 12], '64 messages a key')
  t.same(keyIds([59_999, 60_000, 60_001]), [12, 16, 16], 'a minute a key')
  t.equal(a.slotsNeeded(6, 'aes', 60_002), 0)
  t.equal(a.slotsNeeded(6, 'aes', 120_000), 4)
  t.equal(a.slotsNeeded(6, 'otp', 0), 2 + 4)
})

t.test('a handshake opens an epoch: frames from before it are refused, r and AES key are new', async (t) => {
  const { a, b } = pair()
  const [oldOtp, oldAes] = (['otp', 'aes'] as const).map((suite) => sealed(a.seal('data', new Uint8Array(6), suite, 0)))
  const late = sealed(a.handshake(() => new Uint8Array(20)))
  const newest = sealed(a.handshake(() => new Uint8Array(20)))
  t.match(b.open(newest), { command: 'handshake', suite: 'auth' })
  t.same(
    [oldOtp, oldAes, late].map((datagram) => b.open(datagram ?? newest)),
    new Array(3).fill({ drop: 'oldEpoch' }),
  )
  for (const suite of SUITES) t.match(b.open(sealed(a.seal('data', new Uint8Array(6), suite, 0))), { suite })
  const fresh = new Q3pChannel({ link: 3, end: 1, ...OPTIONS })
  t.same(fresh.open(sealed(a.seal('data', new Uint8Array(6), 'aes', 0))), { drop: 'noEpoch' })
  t.throws(() => fresh.seal('data', new Uint8Array(6), 'aes', 0), 'no epoch, no message')
})

t.test('after a restart on later slots the message counter is ahead of all that was ever sent', async (t) => {
  const { a, b } = pair()
  for (let count = 0; count < 640; count += 1) b.open(sealed(a.seal('data', new Uint8Array(6), 'aes', 0)))
  const { usedSlots } = a.books()[0]
  const reborn = new Q3pChannel({ link: 3, end: 0, ...OPTIONS })
  reborn.addKey({ channel: 6, slot: usedSlots, bytes: randomKey(20_000).slice(4 * usedSlots) })
  t.match(b.open(sealed(reborn.handshake(() => new Uint8Array(20)))), { command: 'handshake' })
  t.match(b.open(sealed(reborn.seal('data', new Uint8Array(6), 'aes', 0))), { suite: 'aes' })
})

t.test('counters past 32 bits are rebuilt on the other side', async (t) => {
  const slot = 2 ** 33 + 2 ** 32 - 12
  const [a, b] = [new Q3pChannel({ link: 3, end: 0, ...OPTIONS }), new Q3pChannel({ link: 3, end: 1, ...OPTIONS })]
  for (const end of [a, b]) end.addKey({ channel: 6, slot, bytes: randomKey(4000) })
  b.open(sealed(a.handshake(() => new Uint8Array(20))))
  const opened = Array.from({ length: 300 }, (_, index) => {
    const result = b.open(sealed(a.seal('data', new Uint8Array(6), index % 2 === 0 ? 'otp' : 'aes', 0)))
    return 'drop' in result ? result.drop : result.msgId
  })
  const firstMsgId = 16 * slot
  t.same(
    opened,
    opened.map((_, index) => firstMsgId + 1 + index),
    'slots and Msg-Ids both pass a multiple of 2^32',
  )
  t.equal(a.books()[0].usedSlots, b.books()[1].usedSlots)
})

t.test('node:crypto opens an AES frame with the key stream alone', async (t) => {
  const key = randomKey(100)
  const { a } = pair(100, key)
  const datagram = sealed(a.seal('data', bytes('680e'), 'aes', 0))
  const slot = Buffer.from(datagram).readUInt32BE(12)
  const nonce = Buffer.concat([datagram.subarray(10, 12), bytes('0000 00000000'), datagram.subarray(4, 8)])
  const decipher = createDecipheriv('aes-128-gcm', key.subarray(4 * slot, 4 * slot + 16), nonce)
  decipher.setAAD(datagram.subarray(0, 20)).setAuthTag(datagram.subarray(-16))
  t.equal(hex(Buffer.concat([decipher.update(datagram.subarray(20, -16)), decipher.final()])), '680e')
})

t.test('a hole in the stream is left out at both ends, and no slot of it is ever key', async (t) => {
  for (const [length, goOn] of [
    [100, 130],
    [100, 1024],
    [1000, 5000],
    [1024, 1500],
  ] as const) {
    const key = randomKey(length)
    const { a, b } = pair(length, key)
    const early = sealed(a.seal('data', new Uint8Array(9), 'otp', 0))
    for (const end of [a, b]) t.equal(end.addKey({ channel: 6, slot: goOn, bytes: new Uint8Array(0) }), 'appended')
    const [tx] = a.books()
    t.match(tx, { assignedSlots: goOn, usedSlots: goOn, discardedSlots: goOn - 15, messageSlots: 15 })
    t.equal(b.books()[1].usedSlots, goOn)
    t.same(a.seal('data', new Uint8Array(9), 'otp', 0), { wait: 7 })
    t.match(b.open(early), { suite: 'otp' }, 'what is on its way can still be opened')
    for (const slot of [length, length + 5, goOn - 7]) {
      const forged = Uint8Array.from(early)
      forged.set([0, 0, 0, 40, 0, 0, slot >> 8, slot & 0xff, 0, 0, (slot + 3) >> 8, (slot + 3) & 0xff], 4)
      forged.set([0x43, 4, 0, 6], 8)
      t.same(b.open(forged), { drop: 'keyGone' }, `slot ${slot}`)
    }
    const more = randomKey(50)
    for (const end of [a, b]) t.equal(end.addKey({ channel: 6, slot: goOn, bytes: more }), 'appended')
    t.match(b.open(sealed(a.seal('data', new Uint8Array(9), 'otp', 0))), { suite: 'otp' })
    t.equal(a.books()[0].usedSlots, b.books()[1].usedSlots)
  }
})

t.test(
  'an empty block makes the sender leave out key that the other end may lack, and the receiver nothing',
  async (t) => {
    const { a, b } = pair(100)
    const early = sealed(a.seal('data', new Uint8Array(9), 'otp', 0))
    for (const end of [a, b]) end.addKey({ channel: 6, slot: 60, bytes: new Uint8Array(0) })
    t.match(a.books()[0], { assignedSlots: 100, usedSlots: 60, discardedSlots: 45 })
    t.equal(b.books()[1].usedSlots, 8)
    t.match(b.open(early), { suite: 'otp' })
  },
)

t.test('zeros are overwritten key, not key', async (t) => {
  const { a } = pair(20)
  t.equal(a.addKey({ channel: 6, slot: 20, bytes: new Uint8Array(16) }), 'zeros')
  t.equal(a.addKey({ channel: 6, slot: 20, bytes: new Uint8Array(4096) }), 'zeros')
  t.equal(a.books()[0].assignedSlots, 20)
  t.equal(a.addKey({ channel: 6, slot: 20, bytes: new Uint8Array(32).fill(1, 31) }), 'appended')
})

t.test('the look at an AES tag among forgeries agrees with node:crypto, frame by frame', async (t) => {
  const rng = random(11)
  const octets = (count: number): Uint8Array => Uint8Array.from({ length: count }, () => rng() * 256)
  for (let payloadBytes = 0; payloadBytes <= 255; payloadBytes += 1) {
    const [key, nonce, frame] = [octets(16), octets(12), octets(20 + payloadBytes + 16)]
    const cipher = createCipheriv('aes-128-gcm', key, nonce)
    cipher.setAAD(frame.subarray(0, 20))
    frame.set(cipher.update(frame.slice(20, 20 + payloadBytes)), 20)
    cipher.final()
    frame.set(cipher.getAuthTag(), 20 + payloadBytes)
    const check = new GcmCheck(key)
    if (!check.isTrue(frame, 20, nonce)) t.fail(`${payloadBytes} octets: a true tag was taken for forged`)
    const at = Math.floor(rng() * frame.length)
    const forged = frame.with(at, (frame[at] ?? 0) ^ (1 << Math.floor(rng() * 8)))
    if (check.isTrue(forged, 20, nonce)) t.fail(`${payloadBytes} octets: a forged tag was taken for true`)
  }
  const { a, b } = pair()
  const opened = Array.from({ length: 300 }, (_, index) => {
    const datagram = sealed(a.seal('data', new Uint8Array(40).fill(index), 'aes', 0))
    const forged = datagram.with(30, (datagram[30] ?? 0) ^ 1)
    const drops = [forged, forged].map((bytes) => b.open(bytes))
    return drops.every((drop) => 'drop' in drop && drop.drop === 'tag') && 'payload' in b.open(datagram)
  })
  t.notOk(opened.includes(false), 'true messages come through between forged ones')
})

t.test('checkers of unused keys are kept in bounds, and are blind once their key is gone', async (t) => {
  const cache = new CheckCache()
  const key = new Uint8Array(16).fill(7)
  const cipher = createCipheriv('aes-128-gcm', key, new Uint8Array(12))
  cipher.setAAD(new Uint8Array(20))
  const text = Buffer.concat([cipher.update(new Uint8Array(40)), cipher.final()])
  const frame = Uint8Array.from(Buffer.concat([new Uint8Array(20), text, cipher.getAuthTag()]))
  const sees = (check: GcmCheck | undefined): boolean | undefined => check?.isTrue(frame, 20, new Uint8Array(12))
  const checks = Array.from({ length: 100 }, () => new GcmCheck(key))
  for (const [slot, check] of checks.entries()) cache.add(slot, check)
  t.equal(cache.get(35), undefined, 'the oldest have gone')
  t.same([sees(cache.get(36)), sees(checks[35])], [true, false], 'wiped')
  cache.drop(40, 43)
  t.same(
    [40, 41, 42, 43].map((slot) => sees(cache.get(slot))),
    [undefined, undefined, undefined, true],
  )
  cache.clear()
  t.ok(checks.every((check) => sees(check) === false))
})

t.test('forged frames that name unused key are dropped, and the true one under it opens', async (t) => {
  const { a, b } = pair()
  for (let round = 0; round < 50; round += 1) {
    // A rekey each round: 65 messages under a key of 64.
    for (let index = 0; index < 65; index += 1) {
      const datagram = sealed(a.seal('data', new Uint8Array(40).fill(index), index % 9 === 8 ? 'otp' : 'aes', 0))
      const forged = Array.from({ length: 3 }, (_, bit) => datagram.with(25, (datagram[25] ?? 0) ^ (1 << bit)))
      if (forged.some((bytes) => !('drop' in b.open(bytes)))) t.fail('a forged frame was opened')
      const opened = b.open(datagram)
      if (!('payload' in opened) || opened.payload[0] !== index) t.fail(`message ${index} of round ${round} was not`)
    }
  }
  const [sent, received] = [a.books()[0], b.books()[1]]
  t.equal(received.usedSlots, sent.usedSlots)
})
