import { readFileSync } from 'node:fs'
import t from 'tap'
import { watchedInterfaces } from '../../netns/capture.ts'
import { configureCommands, createCommands, lawCommands } from '../../netns/lab.ts'
import { NETEM_ENV, netemArgs } from '../../netns/netem.ts'
import { PcapStream, PcapStreamError } from '../../netns/pcap-stream.ts'
import { interfaceNames, type LabNet, labOfNamespace, namespaceName, PlanError, planLab } from '../../netns/plan.ts'
import { stateDirPath } from '../../netns/state-dir.ts'
import { CLEAR, jitterDeviation, type LinkLaw, randomStream } from '../../src/sim/index.ts'
import { quantile, SHAPES, tablePath, tableText } from './jitter-tables.ts'

const NET: LabNet = {
  lab: 'grid-1',
  nodes: [
    { id: 'cc', number: 1 },
    { id: 'gwA', number: 2 },
    { id: 'rtu-north', number: 300 },
  ],
  links: [
    { link: 0, ends: ['cc', 'gwA'] },
    { link: 7, ends: ['gwA', 'rtu-north'] },
    { link: 70, ends: ['gwA', 'rtu-north'] },
  ],
}

/** A topology of one node 'hub0' with links to the given peers. */
function star(peers: readonly string[]): LabNet {
  const ids = ['centre', ...new Set(peers)]
  return {
    lab: 'x',
    nodes: ids.map((id, i) => ({ id, number: i + 1 })),
    links: peers.map((peer, link) => ({ link, ends: ['centre', peer] })),
  }
}

t.test('addresses follow from link and node numbers', async (t) => {
  const plan = planLab(NET, 'netns')
  t.same(
    plan.links.map(({ link, name, ends }) => [link, name, ends[0].address, ends[1].address]),
    [
      [0, 'cc-gwA', '10.64.0.1', '10.64.0.2'],
      [7, 'gwA-rtu-north', '10.64.0.29', '10.64.0.30'],
      [70, 'gwA-rtu-north', '10.64.1.25', '10.64.1.26'],
    ],
  )
  t.same(
    plan.nodes.map(({ managementAddress, namespace }) => [managementAddress, namespace]),
    [
      ['10.200.0.1', 'q104-grid-1-cc'],
      ['10.200.0.2', 'q104-grid-1-gwA'],
      ['10.200.1.44', 'q104-grid-1-rtu_north'],
    ],
  )
  t.same(plan.hub, { namespace: 'q104-grid-1-hub', managementAddress: '10.200.255.254' })
  t.same(planLab(NET, 'userns'), { ...plan, isolation: 'userns' }, 'a user namespace changes nothing')
})

t.test('a loopback lab has a /18 of its own that follows from its name', async (t) => {
  const plan = planLab(NET, 'loopback')
  const [, link] = plan.links
  const base = /^127\.(\d+)\.(\d+)\.0\/18$/.exec(plan.loopbackNetwork ?? '')
  const [a, b] = [Number(base?.[1]), Number(base?.[2])]
  t.ok(a >= 64 && a < 128 && b % 64 === 0, `${plan.loopbackNetwork}`)
  t.same(
    link?.ends.map((end) => [end.interface, end.address]),
    [
      ['lo', `127.${a}.${b}.29`],
      ['lo', `127.${a}.${b}.30`],
    ],
  )
  t.equal(plan.nodes[2]?.managementAddress, `127.${a}.${b + 32 + 1}.44`)
  t.equal(plan.hub.managementAddress, `127.${a}.${b + 63}.254`)
  t.equal(plan.nodes[2]?.namespace, undefined)
  t.equal(planLab(NET, 'netns').loopbackNetwork, undefined)
  const networks = Array.from(
    { length: 40 },
    (_, i) => planLab({ ...NET, lab: `lab-${i}` }, 'loopback').loopbackNetwork,
  )
  t.ok(new Set(networks).size > 30, 'other names, other addresses, nearly always')
  const tooHigh = { ...NET, links: [{ link: 2_048, ends: ['cc', 'gwA'] as const }] }
  t.throws(() => planLab(tooHigh, 'loopback'), /2048 .* not in 0..2047/)
})

t.test('routes lead every node to every link, by alternative ways too, and never back', async (t) => {
  const ring = ['a', 'b', 'c', 'd']
  const links = [...ring.map((id, link) => ({ link, ends: [id, ring[(link + 1) % 4] ?? ''] as const }))]
  const net = {
    lab: 'r',
    nodes: [...ring, 'leaf'].map((id, i) => ({ id, number: i + 1 })),
    links: [...links, { link: 4, ends: ['d', 'leaf'] as const }],
  }
  t.same(planLab(net, 'netns').routes, [], 'only when asked for')
  t.throws(() => planLab(net, 'loopback', { routed: true }), { name: 'PlanError', message: /routes need/ })
  const { routes } = planLab(net, 'netns', { routed: true })
  const of = (node: string, to: string): unknown =>
    routes.filter((route) => route.node === node && route.to === to).map(({ via, metric }) => [via, metric])
  t.same(of('b', '10.64.0.16/30'), [
    ['10.64.0.1', 200],
    ['10.64.0.6', 201],
  ])
  t.same(of('a', '10.64.0.16/30'), [['10.64.0.13', 100]], 'b is farther from it than a')
  t.same(of('leaf', '10.64.0.0/30'), [['10.64.0.17', 200]])
  t.same(of('a', '10.64.0.0/30'), [], 'its own')
  const command = configureCommands(planLab(net, 'netns', { routed: true })).get('q104-r-leaf')
  t.ok(command?.includes('route add 10.64.0.0/30 via 10.64.0.17 dev d metric 200'))
})

t.test('an interface is named after the peer where that fits, is unique and is free', async (t) => {
  const peers = ['gwA', 'a-node-of-16-chr', 'a-node-of-16-chs', 'twice', 'twice', 'mgmt0', 'gwA-1', 'exactly15chars.']
  const names = [...interfaceNames(star(peers), 'centre').values()]
  t.same(names, [
    'gwA',
    'a-node-of-16--1',
    'a-node-of-16--2',
    'twice-3',
    'twice-4',
    'mgmt0-5',
    'gwA-1',
    'exactly15chars.',
  ])
  const clash = [...interfaceNames(star(['twice', 'twice', 'twice-1', 'twice-0']), 'centre').values()]
  t.same(clash, ['twic-0', 'twic-1', 'twice-1', 'twice-0'], 'a peer whose id looks like a shortened name keeps it')
  t.same([...interfaceNames(star(['gwA']), 'gwA').values()], ['centre'], 'the second end names it after the first')
})

t.test('every interface name of a large lab is legal and unique on its node', async (t) => {
  const peers = Array.from({ length: 400 }, (_, i) => `substation-with-long-name-${i % 40}`)
  const names = [...interfaceNames(star(peers), 'centre').values()]
  t.equal(new Set(names).size, 400)
  t.same(
    names.filter((name) => name.length > 15),
    [],
  )
})

t.test('a plan refuses what cannot be laid out, naming it', async (t) => {
  const [node] = NET.nodes
  const cases: readonly [string, LabNet, RegExp][] = [
    ['upper case in the lab name', { ...NET, lab: 'Grid' }, /lab name "Grid"/],
    ['an empty lab name', { ...NET, lab: '' }, /lab name ""/],
    ['a lab name of 21 characters', { ...NET, lab: 'a'.repeat(21) }, /1 to 20 characters/],
    ['a node id with a slash', { ...NET, nodes: [{ id: 'a/b', number: 1 }] }, /node id "a\/b"/],
    ['a node id with a line break', { ...NET, nodes: [{ id: 'a\nb', number: 1 }] }, /node id/],
    ['a node that is called hub', { ...NET, nodes: [{ id: 'hub', number: 1 }] }, /q104-grid-1-hub is used twice/],
    ['two nodes of one name', { ...NET, nodes: [node, { ...node, number: 9 }] as LabNet['nodes'] }, /used twice/],
    ['two nodes of one number', { ...NET, nodes: [...NET.nodes, { id: 'z', number: 2 }] }, /number 2 is used twice/],
    ['node number 0', { ...NET, nodes: [{ id: 'z', number: 0 }] }, /number 0/],
    ["the hub's number", { ...NET, nodes: [{ id: 'z', number: 65_534 }] }, /number 65534/],
    ['a link to nowhere', { ...NET, links: [{ link: 1, ends: ['cc', 'nobody'] }] }, /no node "nobody"/],
    ['a link to itself', { ...NET, links: [{ link: 1, ends: ['cc', 'cc'] }] }, /to itself/],
    ['a link number too high', { ...NET, links: [{ link: 32_768, ends: ['cc', 'gwA'] }] }, /32768/],
    ['a link number twice', { ...NET, links: [...NET.links, { link: 7, ends: ['cc', 'gwA'] }] }, /link 7: number used/],
  ]
  for (const [name, net, message] of cases) {
    t.throws(() => planLab(net, 'netns'), { name: 'PlanError', message }, name)
  }
  t.ok(new PlanError('x') instanceof Error)
})

t.test('a namespace belongs to one lab only, whatever the names', async (t) => {
  t.equal(labOfNamespace(namespaceName('a', 'b-c')), 'a')
  t.equal(labOfNamespace(namespaceName('a-b', 'c')), 'a-b')
  t.equal(labOfNamespace(namespaceName('a-b', 'hub')), 'a-b')
  const foreign = ['q104-', 'q104--', 'q104-a-', 'q104-A-b', 'q104probe-1', 'x-q104-a-b', 'q104-a-b c']
  t.same(
    foreign.map(labOfNamespace),
    foreign.map(() => undefined),
  )
})

t.test('the commands build namespaces, veth pairs, bridge, addresses and permanent neighbours', async (t) => {
  const plan = planLab({ ...NET, links: NET.links.slice(0, 1) }, 'netns')
  t.same(createCommands(plan), [
    'netns add q104-grid-1-hub',
    'netns add q104-grid-1-cc',
    'netns add q104-grid-1-gwA',
    'netns add q104-grid-1-rtu_north',
    'link add name br0 netns q104-grid-1-hub type bridge',
    'link add name mgmt0 netns q104-grid-1-cc type veth peer name n1 netns q104-grid-1-hub',
    'link add name mgmt0 netns q104-grid-1-gwA type veth peer name n2 netns q104-grid-1-hub',
    'link add name mgmt0 netns q104-grid-1-rtu_north type veth peer name n300 netns q104-grid-1-hub',
    'link add name gwA address 02:68:00:00:00:01 netns q104-grid-1-cc type veth peer name cc address 02:68:00:00:00:02 netns q104-grid-1-gwA',
  ])
  t.same(configureCommands(plan).get('q104-grid-1-cc'), [
    'link set dev lo up',
    'address add 10.200.0.1/16 dev mgmt0',
    'link set dev mgmt0 up',
    'address add 10.64.0.1/30 dev gwA',
    'link set dev gwA up',
    'neighbour add 10.64.0.2 lladdr 02:68:00:00:00:02 dev gwA nud permanent',
  ])
})

t.test('a law becomes the arguments of netem', async (t) => {
  const law: LinkLaw = { delayMs: 20, jitterMs: 2, jitter: 'uniform', lossRatio: 0.01, outage: false }
  const args = (changes: object): string => netemArgs({ ...law, ...changes }).join(' ')
  const delay = 'netem limit 10000 delay 20000us 2000us distribution uniform'
  t.equal(args({}), `${delay} loss 1% rate 0bit`)
  t.match(args({ jitter: 'normal' }), 'delay 20000us 2000us distribution normal loss')
  t.match(args({ jitter: 'pareto' }), 'delay 20000us 2000us distribution pareto loss')
  t.equal(args({ jitterMs: 0, lossRatio: 0 }), 'netem limit 10000 delay 20000us rate 0bit')
  t.equal(args({ delayMs: 0, jitterMs: 0, lossRatio: 0 }), 'netem limit 10000 rate 0bit')
  t.equal(args({ delayMs: 0.0335, jitterMs: 0 }), 'netem limit 10000 delay 34us loss 1% rate 0bit')
  t.equal(args({ lossRatio: 1e-7 }), `${delay} loss 0.00001% rate 0bit`, 'no exponent')
  t.equal(args({ bandwidthBps: 64_000 }), `${delay} loss 1% rate 64000bit`)
  const burst = { startRatio: 0.01, endRatio: 0.25, lossRatio: 0.8 }
  t.equal(args({ burst }), `${delay} loss gemodel 1% 25% 80% 1% rate 0bit`)
  t.equal(args({ burst, lossRatio: 0 }), `${delay} loss gemodel 1% 25% 80% 0% rate 0bit`)
  t.equal(args({ duplicateRatio: 0.02, reorderRatio: 0.05 }), `${delay} loss 1% duplicate 2% reorder 5% rate 0bit`)
  t.equal(
    args({ delayMs: 0, jitterMs: 0, reorderRatio: 0.05 }),
    'netem limit 10000 loss 1% rate 0bit',
    'tc refuses to reorder without a delay',
  )
  t.equal(args({ outage: true, burst, duplicateRatio: 1 }), `${delay} loss 100% rate 0bit`, 'a link that is down')
  const bad = [{ delayMs: -1 }, { delayMs: Number.NaN }, { jitterMs: 1e9 }, { lossRatio: 1.01 }, { bandwidthBps: 0 }]
  for (const changes of bad) t.throws(() => args(changes), RangeError, JSON.stringify(changes))
})

t.test('tc is given tables of jitter that are the law of the transport', async (t) => {
  for (const shape of SHAPES) {
    t.equal(readFileSync(tablePath(shape), 'utf8'), tableText(shape), `${shape}, as jitter-tables.js writes it`)
    const random = randomStream(1, shape)
    const drawn = Array.from({ length: 20_001 }, () => jitterDeviation(shape, random)).sort((a, b) => a - b)
    const off = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99].map((p) => {
      const slope = (quantile(shape, p + 0.005) - quantile(shape, p - 0.005)) / 0.01
      const deviation = slope * Math.sqrt((p * (1 - p)) / drawn.length)
      return Math.abs((drawn[Math.round(20_000 * p)] ?? 0) - quantile(shape, p)) / deviation
    })
    t.ok(Math.max(...off) < 4, `${shape}: off by ${off.map((z) => z.toFixed(1)).join(' ')} standard deviations`)
    t.match(NETEM_ENV, { TC_LIB_DIR: /\/netns\/tables$/ })
  }
})

t.test('laws go to the egress of both ends, one batch a namespace', async (t) => {
  const plan = planLab(NET, 'netns')
  const law = { ...CLEAR, delayMs: 5 }
  const slow = { ...law, delayMs: 9 }
  const commands = lawCommands(
    plan,
    new Map([
      [0, law],
      [7, slow],
    ]),
  )
  t.same(Object.fromEntries(commands), {
    'q104-grid-1-cc': ['qdisc replace dev gwA root netem limit 10000 delay 5000us rate 0bit'],
    'q104-grid-1-gwA': [
      'qdisc replace dev cc root netem limit 10000 delay 5000us rate 0bit',
      'qdisc replace dev rtu-north-7 root netem limit 10000 delay 9000us rate 0bit',
    ],
    'q104-grid-1-rtu_north': ['qdisc replace dev gwA-7 root netem limit 10000 delay 9000us rate 0bit'],
  })
  t.throws(() => lawCommands(plan, new Map([[1, law]])), /no link 1/)
})

t.test('capture watches every link at exactly one end, in few namespaces', async (t) => {
  const watched = watchedInterfaces(planLab(NET, 'netns'))
  t.same([...watched.keys()], ['q104-grid-1-gwA'], 'the gateway sees all three')
  t.same(Object.fromEntries(watched.get('q104-grid-1-gwA') ?? []), { cc: 0, 'rtu-north-7': 7, 'rtu-north-1y': 70 })
  const ring = ['a', 'b', 'c', 'd', 'e']
  const links = ring.map((id, link) => ({ link, ends: [id, ring[(link + 1) % 5] ?? ''] as const }))
  const plan = planLab({ lab: 'r', nodes: ring.map((id, i) => ({ id, number: i + 1 })), links }, 'netns')
  const seen = [...watchedInterfaces(plan).values()].flatMap((interfaces) => [...interfaces.values()])
  t.same(seen.sort(), [0, 1, 2, 3, 4], 'once each')
  t.same(watchedInterfaces({ ...plan, links: [] }).size, 0)
})

t.test('locks live where only their user can write', async (t) => {
  t.equal(stateDirPath({}, 0), '/run/q104')
  t.equal(stateDirPath({ XDG_RUNTIME_DIR: '/run/user/7' }, 7), '/run/user/7/q104')
  t.equal(stateDirPath({ XDG_RUNTIME_DIR: 'relative' }, 7), '/tmp/q104-7')
  t.equal(stateDirPath({}, 7), '/tmp/q104-7')
  t.equal(stateDirPath({ Q104_STATE_DIR: '/run/user/7/q104' }, 0), '/run/user/7/q104', 'inside the user namespace')
})

/** A pcap stream of LINUX_SLL2 frames: (protocol, interface index, packet) each, one second apart. */
function cooked(frames: readonly [number, number, string][], magic = 0xa1b23c4d, linkType = 276): Uint8Array {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(magic, 0)
  header.writeUInt32LE(linkType, 20)
  const records = frames.map(([protocol, index, text], i) => {
    const record = Buffer.alloc(36)
    record.writeUInt32LE(1_700_000_000 + i, 0)
    record.writeUInt32LE(5, 4)
    record.writeUInt32LE(20 + text.length, 8)
    record.writeUInt16BE(protocol, 16)
    record.writeUInt32BE(index, 20)
    return Buffer.concat([record, Buffer.from(text)])
  })
  return Buffer.concat([header, ...records])
}

t.test('a pcap stream gives the same frames however it is cut', async (t) => {
  const bytes = cooked([
    [0x0800, 3, 'first'],
    [0x86dd, 3, 'not IPv4'],
    [0x0800, 4, ''],
  ])
  const whole = new PcapStream().push(bytes)
  t.same(
    whole.map(({ timestampNs, interfaceIndex, packet }) => [timestampNs, interfaceIndex, packet.length]),
    [
      [1_700_000_000_000_000_005n, 3, 5],
      [1_700_000_002_000_000_005n, 4, 0],
    ],
  )
  const stream = new PcapStream()
  t.same(
    [...bytes].flatMap((byte) => stream.push(Uint8Array.of(byte))),
    whole,
    'octet by octet',
  )
  const [micro] = new PcapStream().push(cooked([[0x0800, 1, 'x']], 0xa1b2c3d4))
  t.equal(micro?.timestampNs, 1_700_000_000_000_005_000n, 'microseconds')
})

t.test('what is no pcap stream of cooked frames is refused', async (t) => {
  t.throws(() => new PcapStream().push(cooked([], 0x12345678)), PcapStreamError)
  t.throws(() => new PcapStream().push(cooked([], 0xa1b2c3d4, 1)), /link type 1/)
  const huge = Buffer.from(cooked([[0x0800, 1, 'x']]))
  huge.writeUInt32LE(0x7fff_ffff, 32)
  t.throws(() => new PcapStream().push(huge), /2147483647 bytes/)
})
