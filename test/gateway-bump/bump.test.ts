import fc from 'fast-check'
import t from 'tap'
import { CONTROL_TYPE, encodeState, parseControl, WINDOW_ASDUS } from '../../src/gateway/bump/index.ts'
import { cryptoReady, encodeI, encodeS, encodeU } from '../../src/protocol/index.ts'
import { randomStream } from '../../src/sim/index.ts'
import { asdu, hex, type PairOptions, PairWorld, READY_MS, type Station } from './pair-world.ts'

await cryptoReady

const COMMAND = { typeId: 45, cause: 6 }

/** A pair with a started master and outstation. */
function started(options: PairOptions = {}): { world: PairWorld; master: Station; outstation: Station } {
  const world = new PairWorld(options)
  world.run(READY_MS)
  const master = world.connectMaster()
  world.run(READY_MS + 1000)
  const { outstation } = world
  if (outstation === undefined) throw new Error('the outstation was not dialled')
  return { world, master, outstation }
}

t.test('STARTDT is confirmed when the outstation has started, not before', async (t) => {
  const world = new PairWorld()
  world.run(READY_MS)
  world.isLinkOut = true
  const master = world.connectMaster()
  world.run(READY_MS + 2000)
  t.same(master.log, [], 'no confirmation while the twin cannot be asked')
  t.equal(world.outstation, undefined)
  world.isLinkOut = false
  world.run(READY_MS + 6000)
  t.same(world.outstation?.log, ['started'])
  t.same(master.log, ['started'])
})

t.test('an outstation may send right behind its STARTDT con', async (t) => {
  const world = new PairWorld()
  world.outstationQueue = Array.from({ length: 30 }, (_, index) => asdu(index))
  world.run(READY_MS)
  const master = world.connectMaster()
  world.run(READY_MS + 1000)
  t.same(master.log, ['started'])
  t.same(master.received.map(hex), world.outstationQueue.map(hex))
})

t.test('a master that only connects gets its tests answered and no outstation is dialled', async (t) => {
  const world = new PairWorld()
  world.run(READY_MS)
  const master = world.connectMaster({}, false)
  world.run(READY_MS + 120_000)
  t.equal(world.outstation, undefined)
  t.ok(master.isOpen)
})

t.test('an outstation that cannot be reached closes the connection of the master that wants it', async (t) => {
  const world = new PairWorld()
  world.outstationListens = false
  world.run(READY_MS)
  const master = world.connectMaster()
  world.run(READY_MS + 1000)
  t.same(master.log, ['closed'])
  t.match(world.eventsOf(0, 'near.closed'), [{ reason: 'the outstation is gone' }])
  t.match(world.eventsOf(1, 'near.closed'), [{ reason: 'nobody listens there' }])
  world.outstationListens = true
  const again = world.connectMaster()
  world.run(READY_MS + 2000)
  t.same(again.log, ['started'], 'and the next connection is tried anew')
})

t.test('a STARTDT that the far side does not answer closes after t1', async (t) => {
  const world = new PairWorld()
  world.isLinkOut = true
  const master = world.connectMaster({ t1Ms: 60_000 })
  world.run(14_900)
  t.same(master.log, [])
  world.run(15_100)
  t.same(master.log, ['closed'])
})

t.test('STOPDT reaches the outstation behind all commands and is confirmed behind all its ASDUs', async (t) => {
  const { world, master, outstation } = started({ faults: { lossRatio: 0.05, duplicateRatio: 0.05, jitterMs: 20 } })
  const commands = Array.from({ length: 10 }, (_, index) => asdu(index, COMMAND))
  const events = Array.from({ length: 40 }, (_, index) => asdu(index))
  world.send(0, master, ...commands)
  world.send(1, outstation, ...events)
  world.run(world.nowMs + 20)
  world.apply(0, master, master.session.stop(world.nowMs))
  world.run(world.nowMs + 30_000)
  t.same(master.log, ['started', 'stopped'])
  t.same(outstation.log, ['started', 'stopped'])
  t.same(outstation.received.map(hex), commands.map(hex))
  const arrived = master.received.map(hex)
  t.same(arrived, events.slice(0, arrived.length).map(hex), 'no ASDU missing before the stop')
  t.equal(arrived.length + outstation.queue.length, events.length, 'the rest still waits in the outstation')

  world.apply(0, master, master.session.start(world.nowMs))
  world.run(world.nowMs + 10_000)
  t.same(master.log, ['started', 'stopped', 'started'])
  t.same(master.received.map(hex), events.map(hex), 'which goes on with the next start')
  t.equal(world.outstations.length, 1, 'on the same connection')
})

t.test(
  'random traffic of both directions arrives once, in order, octet for octet, under loss, duplication and reordering',
  async (t) => {
    for (const seed of [1, 2, 3, 4]) {
      const { world, master, outstation } = started({
        seed,
        faults: { lossRatio: 0.05, duplicateRatio: 0.05, jitterMs: 25 },
      })
      const random = randomStream(seed, 'traffic')
      const sent: readonly [Uint8Array[], Uint8Array[]] = [[], []]
      const untilMs = world.nowMs + 60_000
      for (const end of [0, 1] as const) {
        for (let atMs = world.nowMs; atMs < untilMs; atMs += random.uniform() * 250) {
          const burst = random.uniform() < 0.05 ? 40 : 1
          world.at(atMs, () => {
            for (let count = 0; count < burst; count += 1) {
              const typeId = random.uniform() < 0.1 ? CONTROL_TYPE : Math.floor(random.uniform() * 256)
              const sizeBytes = 13 + Math.floor(random.uniform() * 237)
              const bytes = asdu(sent[end].length, { typeId, cause: Math.floor(random.uniform() * 64), sizeBytes })
              sent[end].push(bytes)
              world.send(end, end === 0 ? master : outstation, bytes)
            }
          })
        }
      }
      world.run(untilMs + 30_000)
      t.same(outstation.received.map(hex), sent[0].map(hex), `seed ${seed}: all ${sent[0].length} to the outstation`)
      t.same(master.received.map(hex), sent[1].map(hex), `seed ${seed}: all ${sent[1].length} to the master`)
      t.same([master.log, outstation.log], [['started'], ['started']], `seed ${seed}: no connection was lost`)
    }
  },
)

t.test('the control ASDU of the twins reaches no station', async (t) => {
  const { world, master, outstation } = started()
  const sneaky = encodeState({ side: 'dial', connection: 99, state: 'closed', limit: 7 })
  world.send(0, master, sneaky, asdu(1, { ...COMMAND, typeId: CONTROL_TYPE, sizeBytes: 249 }))
  world.send(1, outstation, sneaky)
  for (let number = 0; number < 200; number += 1) world.send(1, outstation, asdu(number))
  world.run(world.nowMs + 20_000)
  t.same(
    outstation.received.map(hex),
    [hex(sneaky), hex(asdu(1, { ...COMMAND, typeId: CONTROL_TYPE, sizeBytes: 249 }))],
    'but a station that uses the same type is served',
  )
  t.equal(master.received.length, 201)
  t.same(master.received.filter((bytes) => bytes[0] === CONTROL_TYPE).map(hex), [hex(sneaky)])
})

t.test('a dead outstation closes the connection of its master, who comes back by himself', async (t) => {
  const { world, master, outstation } = started()
  world.hangUp(1, outstation)
  world.run(world.nowMs + 100)
  t.same(master.log, ['started', 'closed'])
  const again = world.connectMaster()
  world.run(world.nowMs + 1000)
  t.same(again.log, ['started'])
  t.equal(world.outstations.length, 2)
})

t.test('an outstation that falls silent is found out by t3 and t1 of its gateway', async (t) => {
  const { world, master, outstation } = started()
  outstation.isOpen = false
  world.run(world.nowMs + 36_000)
  t.same(master.log, ['started', 'closed'])
  t.match(world.eventsOf(1, 'near.closed'), [{ reason: 't1Testfr' }])
})

t.test('a master that goes closes the connection of the outstation', async (t) => {
  const { world, master, outstation } = started()
  world.hangUp(0, master)
  world.run(world.nowMs + 100)
  t.same(outstation.log, ['started', 'closed'])
})

t.test('an outage of the link of 5 s passes unnoticed, one of 20 s closes both near sides', async (t) => {
  for (const isBusy of [false, true]) {
    const { world, master, outstation } = started()
    const fromMs = world.nowMs
    const busy = isBusy ? 400 : 0
    for (let count = 0; count < busy; count += 1) {
      world.at(fromMs + count * 100, () => world.send(1, outstation, asdu(count)))
    }
    world.run(fromMs + 10_000)
    world.isLinkOut = true
    world.run(fromMs + 15_000)
    world.isLinkOut = false
    world.run(fromMs + 60_000)
    t.same([master.log, outstation.log], [['started'], ['started']], `5 s, busy: ${isBusy}`)
    t.equal(master.received.length, busy)
    world.isLinkOut = true
    world.run(fromMs + 80_000)
    t.same(
      [master.log, outstation.log],
      [
        ['started', 'closed'],
        ['started', 'closed'],
      ],
      `20 s, busy: ${isBusy}`,
    )
    world.isLinkOut = false
    world.run(fromMs + 100_000)
    const again = world.connectMaster()
    world.run(world.nowMs + 2000)
    t.same(again.log, ['started'], 'and the pair is there again')
  }
})

t.test('behind a slow outstation the window of the master fills, nothing piles up and nothing is lost', async (t) => {
  const world = new PairWorld()
  world.outstationSlowMs = 100
  world.run(READY_MS)
  const master = world.connectMaster()
  world.run(READY_MS + 1000)
  const commands = Array.from({ length: 1500 }, (_, index) => asdu(index, COMMAND))
  world.send(0, master, ...commands)
  let mostInside = 0
  let mostUnacked = 0
  for (let count = 0; count < 1600; count += 1) {
    world.run(world.nowMs + 100)
    const accepted = commands.length - master.queue.length - master.session.unacked
    mostInside = Math.max(mostInside, accepted - (world.outstation?.received.length ?? 0))
    mostUnacked = Math.max(mostUnacked, master.session.unacked)
  }
  t.equal(mostUnacked, 12, 'k of the master')
  t.ok(mostInside <= WINDOW_ASDUS + 3 * 12 + 2, `at most ${mostInside} ASDUs in the gateways`)
  t.same(master.log, ['started'])
  t.same(world.outstation?.received.map(hex), commands.map(hex))
})

t.test('a master that exceeds its window is not read any further', async (t) => {
  const world = new PairWorld({ keyBudgetSlots: 400 })
  world.run(READY_MS)
  const master = world.connectMaster({}, false)
  world.raw(0, master, encodeU('startdtAct'))
  world.run(READY_MS + 1000)
  t.same(master.log, [hex(encodeU('startdtCon'))])
  for (let seq = 0; seq < 400; seq += 1)
    world.raw(0, master, encodeI(seq, 0, asdu(seq, { ...COMMAND, sizeBytes: 200 })))
  world.run(world.nowMs + 1000)
  t.ok(master.isOpen)
  t.ok((world.outstation?.received.length ?? 0) < 20)
  world.keyBudgetSlots = 1e6
  world.supply()
  world.run(world.nowMs + 12_000)
  t.equal(world.outstation?.received.length, 400, 'until there is room')
})

t.test('without key ASDUs wait, and after t1 the connection closes; no command comes late', async (t) => {
  const { world, master, outstation } = started({ keyBudgetSlots: 150 })
  const commands = Array.from({ length: 40 }, (_, index) => asdu(index, COMMAND))
  world.send(0, master, ...commands)
  world.run(world.nowMs + 20_000)
  const arrived = outstation.received.length
  t.ok(arrived < 20, `${arrived} before the key ran out`)
  t.ok(['gave up: t1Ack', 'closed'].includes(master.log.at(-1) ?? ''))
  t.equal(outstation.log.at(-1), 'closed')
  world.keyBudgetSlots = 100_000
  world.supply()
  const again = world.connectMaster()
  world.run(world.nowMs + 5000)
  t.equal(outstation.received.length, arrived)
  t.same(world.outstation?.received, [])
  t.same(again.log, ['started'])
  const discarded = world.eventsOf(0, 'asdus.discarded').reduce((sum, { count }) => sum + Number(count), 0)
  const unacked = commands.length - master.queue.length - 12
  t.equal(arrived + discarded, unacked, 'every command that was acknowledged arrived or is counted as discarded')
})

t.test('below the low-water mark ASDUs go by AES, in order, instead of waiting', async (t) => {
  const { world, master, outstation } = started({ keyBudgetSlots: 400, bump: { aesBelowSlots: 120 } })
  const commands = Array.from({ length: 300 }, (_, index) => asdu(index, COMMAND))
  world.send(0, master, ...commands)
  world.run(world.nowMs + 30_000)
  t.same(outstation.received.map(hex), commands.map(hex))
  const data = world.suites.slice(world.suites.indexOf('otp'))
  t.ok(data.includes('otp') && data.includes('aes'))
})

t.test('masters form a redundancy group: the newest STARTDT has the data transfer', async (t) => {
  const { world, master, outstation } = started()
  const standby = world.connectMaster({}, false)
  world.run(world.nowMs + 60_000)
  t.ok(standby.isOpen, 'a stand-by is tolerated')
  world.startMaster(standby)
  world.run(world.nowMs + 1000)
  t.same(master.log, ['started', 'closed'], 'its predecessor is closed')
  t.same(standby.log, ['started'])
  t.same(outstation.log, ['started', 'closed'])
  world.send(0, standby, asdu(5, COMMAND))
  world.run(world.nowMs + 100)
  t.same(world.outstation?.received.map(hex), [hex(asdu(5, COMMAND))])

  const third = world.connectMaster({}, false)
  world.apply(0, standby, standby.session.stop(world.nowMs))
  world.run(world.nowMs + 12_000)
  world.startMaster(third)
  world.run(world.nowMs + 1000)
  t.same(standby.log, ['started', 'stopped'])
  t.ok(standby.isOpen, 'a stopped predecessor stays as stand-by')
  t.same(third.log, ['started'])
  t.equal(world.outstations.length, 2, 'and hands the connection to the outstation over')
})

t.test('more masters than allowed are refused', async (t) => {
  const { world } = started({ bump: { maxConnections: 1 } })
  const second = world.connectMaster()
  world.run(world.nowMs + 100)
  t.same(second.log, ['closed'])
  t.match(world.eventsOf(0, 'near.refused'), [{ peer: 'master 1', connections: 1 }])
})

t.test('events that a broken connection left over go to the next master first; nothing else does', async (t) => {
  const { world, master, outstation } = started()
  const events = Array.from({ length: 100 }, (_, index) =>
    asdu(index, index % 10 === 9 ? { typeId: 13, cause: 1 } : {}),
  )
  world.send(1, outstation, ...events)
  // The master reads nothing any more, then its connection breaks.
  master.slowMs = 1e6
  master.nextReadMs = 1e7
  world.run(world.nowMs + 3000)
  const accepted = events.length - outstation.queue.length - outstation.session.unacked
  t.ok(accepted > 40, `${accepted} ASDUs are between the gateways`)
  world.hangUp(0, master)
  world.run(world.nowMs + 1000)
  const again = world.connectMaster()
  world.run(world.nowMs + 1000)
  const fresh = asdu(1000)
  const { outstation: next } = world
  if (next !== undefined) world.send(1, next, fresh)
  world.run(world.nowMs + 5000)
  const expected = events.slice(0, accepted).filter((bytes) => bytes[2] === 3)
  const got = again.received.map(hex)
  t.same(got.slice(0, expected.length), expected.map(hex), 'every acknowledged event, in order')
  t.equal(got.at(-1), hex(fresh))
  const cyclic = again.received.filter((bytes) => bytes[2] === 1)
  t.equal(cyclic.length, 0)
  t.ok(world.eventsOf(0, 'asdus.discarded').length > 0, 'the others are counted')
})

t.test('what is not 104 closes the near connection and nothing else', async (t) => {
  const frames: Readonly<Record<string, readonly Uint8Array[]>> = {
    'an I-frame with a gap in N(S)': [encodeI(3, 0, asdu(1, COMMAND))],
    'an S-frame beyond what was sent': [encodeS(77)],
    'an I-frame that acknowledges what was not sent': [encodeI(0, 9, asdu(1, COMMAND))],
    'a start octet that is none': [Uint8Array.of(0x69, 4, 7, 0, 0, 0)],
    'a STARTDT con': [encodeU('startdtCon')],
  }
  for (const [name, octets] of Object.entries(frames)) {
    const { world, master, outstation } = started()
    for (const bytes of octets) world.raw(0, master, bytes)
    world.run(world.nowMs + 1000)
    t.same(master.log, ['started', 'closed'], name)
    t.same(outstation.log, ['started', 'closed'], `${name}: the outstation's connection ends with it`)
    t.equal(outstation.received.length, 0)
    t.equal(world.eventsOf(0, 'link.down').length, 0)
  }
  const world = new PairWorld()
  world.run(READY_MS)
  const eager = world.connectMaster({}, false)
  world.raw(0, eager, encodeI(0, 0, asdu(1, COMMAND)))
  world.run(READY_MS + 100)
  t.same(eager.log, ['closed'], 'an I-frame before STARTDT')
})

t.test('any octets from a near station are borne', async (t) => {
  const property = fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 10 }), (chunks) => {
    const { world, master } = started()
    for (const chunk of chunks) world.raw(0, master, chunk)
    world.run(world.nowMs + 1000)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 50 }))
})

t.test('a gateway that ends closes its near connections and the link', async (t) => {
  for (const end of [0, 1] as const) {
    const { world, master, outstation } = started()
    world.feed(end, { kind: 'drain' })
    world.run(world.nowMs + 2000)
    t.same([master.log.at(-1), outstation.log.at(-1)], ['closed', 'closed'], `gateway ${end}`)
  }
})

t.test('the control ASDU', async (t) => {
  const state = fc.record({
    side: fc.constantFrom('accept' as const, 'dial' as const),
    connection: fc.nat(0xffff_ffff),
    state: fc.constantFrom('closed' as const, 'open' as const, 'started' as const),
    limit: fc.nat(0xffff_ffff),
  })
  await t.test('is read as it was written', async (t) => {
    const property = fc.property(state, (written) => {
      t.has(parseControl(encodeState(written)), { kind: 'state', ...written })
    })
    fc.assert(property, { numRuns: 20 })
  })
  await t.test('any octets give a control ASDU or nothing', async (t) => {
    const octets = fc
      .uint8Array({ maxLength: 30 })
      .map((tail) => Uint8Array.of(254, 1, 3, 0, 0, 0, 0, 0, 0, 1, ...tail))
    t.doesNotThrow(() => fc.assert(fc.property(octets, (bytes) => void parseControl(bytes))))
  })
})
