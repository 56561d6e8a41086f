import t from 'tap'
import { collectGarbage } from '../../../bench/iec104/figures.ts'
import type { ControllingStationEffect, Operation } from '../../../src/master/index.ts'
import type { PointKind, PointSpec, StationConfig } from '../../../src/rtu/index.ts'
import { soak } from './soak.ts'
import { VirtualLink, type VirtualLinkOptions } from './virtual-link.ts'

const KINDS: readonly PointKind[] = ['single', 'double', 'step', 'bitstring', 'packed', 'normalized', 'scaled', 'float']
/** Reported only: they have no state to interrogate. */
const PROTECTION: readonly PointKind[] = ['protectionEvent', 'protectionStart', 'protectionTrip']
const COMMANDS = ['single', 'double', 'step', 'normalized', 'scaled', 'float', 'bitstring'] as const
const FILE = Uint8Array.from({ length: 130_000 }, (_, i) => (i * 17) & 0xff)

/** Points of all kinds at two stations, commands of all kinds, files. */
const CONFIG: StationConfig = {
  points: [1, 2].flatMap((ca): PointSpec[] => [
    ...KINDS.map((kind, i): PointSpec => ({ ca, ioa: 100 + i, kind, group: 1 + i })),
    ...PROTECTION.map((kind, i): PointSpec => ({ ca, ioa: 150 + i, kind })),
    ...[1, 2, 3, 4].map((group): PointSpec => ({ ca, ioa: 200 + group, kind: 'counter', group, value: 10 * group })),
    ...COMMANDS.map((kind, i): PointSpec => ({ ca, ioa: 300 + i, kind })),
  ]),
  commands: COMMANDS.map((kind, i) => ({ ca: 1, ioa: 400 + i, kind, pointIoa: 300 + i })),
  files: [
    { ca: 1, ioa: 500, nof: 1, bytes: FILE },
    { ca: 1, ioa: 501, nof: 2, writable: true },
  ],
}

function linkOf(options: Partial<VirtualLinkOptions> = {}): VirtualLink {
  return new VirtualLink({ config: CONFIG, seed: 1, delayMs: [1, 10], maxPieceBytes: 7, ...options }).connect()
}

const header = { kind: 'command', mode: 'direct', ca: 1 } as const
const qos = { ql: 0, select: false }

/** A command of each kind, with and without time tag; `on` alternates values. */
function commands(on: boolean): Operation[] {
  const number = on ? 0.5 : -0.25
  const sco = { on, qu: 0, select: false }
  const dco = { state: on ? 2 : 1, qu: 0, select: false }
  const rco = { step: on ? 2 : 1, qu: 0, select: false }
  return [
    { ...header, ioa: 400, type: 'C_SC_NA_1', value: { sco } },
    { ...header, ioa: 400, type: 'C_SC_TA_1', value: { sco } },
    { ...header, ioa: 401, type: 'C_DC_NA_1', value: { dco } },
    { ...header, ioa: 401, type: 'C_DC_TA_1', value: { dco } },
    { ...header, ioa: 402, type: 'C_RC_NA_1', value: { rco } },
    { ...header, ioa: 402, type: 'C_RC_TA_1', value: { rco } },
    { ...header, ioa: 403, type: 'C_SE_NA_1', value: { value: number, qos } },
    { ...header, ioa: 403, type: 'C_SE_TA_1', value: { value: number, qos } },
    { ...header, ioa: 404, type: 'C_SE_NB_1', value: { value: 7, qos } },
    { ...header, ioa: 404, type: 'C_SE_TB_1', value: { value: 7, qos } },
    { ...header, ioa: 405, type: 'C_SE_NC_1', value: { value: number, qos } },
    { ...header, ioa: 405, type: 'C_SE_TC_1', value: { value: number, qos } },
    { ...header, ioa: 406, type: 'C_BO_NA_1', value: { bsi: on ? 1 : 2 } },
    { ...header, ioa: 406, type: 'C_BO_TA_1', value: { bsi: on ? 1 : 2 } },
  ]
}

t.test('every operation is confirmed, over a stream in small pieces', async (t) => {
  const link = linkOf()
  const selectable = commands(false).filter((operation) => !('type' in operation && operation.type.startsWith('C_BO')))
  const qpm = { kind: 1, changed: false, notInOperation: false }
  const parameter = { kind: 'parameter', ca: 1 } as const
  const operations: Operation[] = [
    ...commands(true),
    ...selectable.map((operation) => ({ ...operation, mode: 'selectBeforeOperate' }) as Operation),
    { kind: 'interrogation', ca: 1, group: 0 },
    ...Array.from({ length: 8 }, (_, i): Operation => ({ kind: 'interrogation', ca: 1, group: i + 1 })),
    ...[1, 2, 3, 4, 5].map((group): Operation => ({ kind: 'counterInterrogation', ca: 1, group, action: 'freeze' })),
    ...[1, 2, 3, 4, 5].map((group): Operation => ({ kind: 'counterInterrogation', ca: 1, group, action: 'read' })),
    { kind: 'counterInterrogation', ca: 1, group: 5, action: 'freezeAndReset' },
    { kind: 'counterInterrogation', ca: 1, group: 5, action: 'reset' },
    { kind: 'read', ca: 1, ioa: 100 },
    { kind: 'clockSync', ca: 1 },
    { ...parameter, type: 'P_ME_NA_1', ioa: 105, value: { value: 0.25, qpm } },
    { ...parameter, type: 'P_ME_NB_1', ioa: 106, value: { value: 5, qpm } },
    { ...parameter, type: 'P_ME_NC_1', ioa: 107, value: { value: 2.5, qpm } },
    { kind: 'parameterActivation', ca: 1, ioa: 107, qpa: 3, active: true },
    { kind: 'parameterActivation', ca: 1, ioa: 107, qpa: 3, active: false },
    { kind: 'test', ca: 1 },
    { kind: 'timedTest', ca: 1, counter: 9 },
    { kind: 'directory', ca: 1, ioa: 0 },
    { kind: 'getFile', ca: 1, ioa: 500, nof: 1 },
    { kind: 'putFile', ca: 1, ioa: 501, nof: 2, octets: FILE },
    { kind: 'resetProcess', ca: 1, qrp: 1 },
  ]
  const notConfirmed = operations
    .map((operation) => ({ operation, ...link.run(operation) }))
    .filter(({ result }) => result.kind !== 'confirmed')
  t.same(notConfirmed, [])
  t.equal(link.commands.length, 14 + selectable.length)
  const selected = link.commands.slice(14).map(({ value }) => value)
  t.same(selected, [0, 0, 1, 1, 1, 1, -0.25, -0.25, 7, 7, -0.25, -0.25], 'the process got what was selected')
})

t.test('an interrogation brings every point of its group, a read the point', async (t) => {
  const data: ControllingStationEffect[] = []
  const link = linkOf({ observe: (effect) => void (effect.kind === 'data' && data.push(effect)) })
  // 8 kinds, and 7 points that show commands.
  t.match(link.run({ kind: 'interrogation', ca: 1, group: 0 }).result, { objectCount: 15, terminated: true })
  t.match(link.run({ kind: 'interrogation', ca: 2, group: 3 }).result, { objectCount: 1, stations: [2] })
  t.match(link.run({ kind: 'counterInterrogation', ca: 1, group: 5, action: 'read' }).result, { objectCount: 4 })
  t.match(link.run({ kind: 'counterInterrogation', ca: 1, group: 2, action: 'read' }).result, { objectCount: 1 })
  const read = link.run({ kind: 'read', ca: 1, ioa: 107 })
  t.match(read.result, { kind: 'confirmed', reply: { type: 'M_ME_NC_1', cot: 5, objects: [{ ioa: 107 }] } })
})

t.test('CA 65535 reaches every station behind the connection', async (t) => {
  const link = linkOf()
  const { result } = link.run({ kind: 'interrogation', ca: 65_535, group: 0 })
  t.match(result, { kind: 'confirmed', terminated: true, objectCount: 30, stations: [1, 2] })
  t.match(link.run({ kind: 'clockSync', ca: 65_535 }).result, { kind: 'confirmed', stations: [1, 2] })
})

t.test('what is not there is refused with its cause', async (t) => {
  const link = linkOf({ client: { oa: 5 } })
  const cause = (operation: Operation) => {
    const { result } = link.run(operation)
    return result.kind === 'refused' ? result.cot : result.kind
  }
  t.equal(cause({ kind: 'read', ca: 1, ioa: 9999 }), 47)
  t.equal(cause({ kind: 'interrogation', ca: 9, group: 0 }), 46)
  t.equal(cause({ ...header, ioa: 9999, type: 'C_BO_NA_1', value: { bsi: 1 } }), 47)
  t.equal(cause({ kind: 'getFile', ca: 1, ioa: 600, nof: 1 }), 47)
  t.equal(cause({ kind: 'clockSync', ca: 9 }), 46)
  const execute = { on: true, qu: 0, select: false }
  const unselected = { ...header, ioa: 400, type: 'C_SC_NA_1', value: { sco: execute }, mode: 'select' } as const
  t.equal(cause(unselected), 'confirmed')
  t.equal(cause({ ...unselected, mode: 'cancel' }), 'confirmed')
})

t.test('a file comes back as it was sent', async (t) => {
  const link = linkOf({ maxPieceBytes: 300 })
  const got = link.run({ kind: 'getFile', ca: 1, ioa: 500, nof: 1 })
  t.ok(got.result.kind === 'confirmed' && Buffer.from(FILE).equals(got.result.octets ?? new Uint8Array()))
  link.run({ kind: 'putFile', ca: 1, ioa: 501, nof: 2, octets: FILE.subarray(7) })
  const taken = link.serverEffects.find((effect) => effect.kind === 'fileReceived')
  t.ok(taken?.kind === 'fileReceived' && Buffer.from(FILE.subarray(7)).equals(taken.bytes))
})

t.test('events survive the loss of the connection: none is missing, only unacknowledged ones come again', async (t) => {
  const values: number[] = []
  const link = linkOf({
    observe(effect) {
      if (effect.kind !== 'data' || effect.asdu.type !== 'M_BO_TB_1') return
      values.push(...effect.asdu.objects.map(({ value }) => value.bsi))
    },
  })
  for (let i = 1; i <= 2000; i++) {
    link.at(i * 5, () => link.feedServer({ kind: 'setPoint', ca: 1, ioa: 103, value: i }))
  }
  for (let atMs = 703; atMs < 10_000; atMs += 1400) {
    link.at(atMs, () => link.break())
    link.at(atMs + 500, () => void link.connect())
  }
  link.runUntil(12_000)
  const distinct = new Set(values)
  t.equal(distinct.size, 2000, 'none is missing')
  // In each break at most k frames of up to 16 events were under way.
  t.ok(values.length - distinct.size <= 7 * 12 * 16, `${values.length - distinct.size} came twice`)
  const firsts = values.filter((value, i) => values.indexOf(value) === i)
  t.same(
    firsts,
    [...firsts].sort((a, b) => a - b),
    'in order',
  )
  t.equal(
    link.server.status().groups.reduce((sum, { droppedEvents }) => sum + droppedEvents, 0),
    0,
  )
})

t.test('an operation that a broken connection cuts off ends as closed; the next one works again', async (t) => {
  const link = linkOf()
  let kind = ''
  link.operate({ kind: 'getFile', ca: 1, ioa: 500, nof: 1 }, ({ result }) => {
    kind = result.kind
  })
  link.runUntil(link.nowMs + 100)
  link.break()
  t.equal(kind, 'closed')
  link.connect()
  t.equal(link.run({ kind: 'getFile', ca: 1, ioa: 500, nof: 1 }).result.kind, 'confirmed')
})

t.test('a silent connection is tested by t3 and lives on', async (t) => {
  const closes: string[] = []
  const link = linkOf({ observe: (effect) => void (effect.kind === 'link' && closes.push(effect.state)) })
  link.runUntil(24 * 3_600_000)
  t.same(closes, ['started'])
  t.equal(link.run({ kind: 'test', ca: 1 }).result.kind, 'confirmed')
})

t.test(
  '24 hours of virtual time: no gap, no duplicate and flat memory over several wraps of the numbers',
  async (t) => {
    const heapMib: number[] = []
    const result = soak({
      durationMs: 24 * 3_600_000,
      changesPerS: 2,
      seed: 2,
      mark() {
        collectGarbage()
        heapMib.push(process.memoryUsage().heapUsed / 2 ** 20)
      },
    })
    t.match(result, { gaps: 0, duplicates: 0, droppedEvents: 0, failed: [], closes: [] })
    t.ok(result.wraps >= 4, `${result.wraps} wraps, ${result.frames} I-frames, ${result.changes} changes`)
    const [, middle = 0, end = Number.NaN] = heapMib
    t.ok(end < middle * 1.25 + 4, `heap ${heapMib.map((mib) => mib.toFixed(1)).join(', ')} MiB`)
  },
)
