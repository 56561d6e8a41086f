/** master -1- gwA, master -2- gwB, gwA -7- gwB; gwA -3- rtu, gwB -4- rtu; rtu -5- load (bus 16), rtu -6- machine (bus 30). */
import { Gateway } from '../../src/gateway/index.ts'
import { Ied } from '../../src/ied/index.ts'
import { Master, type MasterConfig } from '../../src/master/index.ts'
import { Rtu } from '../../src/rtu/index.ts'
import { chain, GreedyPolicy, type Policy } from '../../src/scheduler/index.ts'
import { linkOptions, World } from './harness.ts'

const paths = (device: string) => [
  ['master', 'gwA', 'rtu', device],
  ['master', 'gwB', 'rtu', device],
]
const terms = { requiredSuite: 'otp', allowedSuites: ['aes', 'otp'], ratePerS: 1, apduBytes: 22 } as const

export const shed = chain({
  id: 'shed',
  taskType: 'shedding',
  priority: 0,
  deadlineMs: 1_000,
  paths: paths('load'),
  ...terms,
})
export const agc = chain({
  id: 'agc',
  taskType: 'agc',
  priority: 1,
  deadlineMs: 2_000,
  paths: paths('machine'),
  ...terms,
})
export const unit = chain({
  id: 'unit',
  taskType: 'setpoint',
  priority: 2,
  deadlineMs: 2_000,
  paths: paths('machine'),
  ...terms,
})

export const masterConfig: MasterConfig = {
  id: 'master',
  links: [linkOptions(1, 0), linkOptions(2, 0)],
  topology: [
    { link: 1, ends: ['master', 'gwA'], pooled: true },
    { link: 2, ends: ['master', 'gwB'], pooled: true },
    { link: 3, ends: ['gwA', 'rtu'], pooled: true },
    { link: 4, ends: ['gwB', 'rtu'], pooled: true },
    { link: 5, ends: ['rtu', 'load'], pooled: false },
    { link: 6, ends: ['rtu', 'machine'], pooled: false },
  ],
  stations: [{ ca: 5, links: [1, 2] }],
  chains: [
    { chain: shed, target: { ca: 5, ioa: 700 } },
    { chain: agc, target: { ca: 5, ioa: 800 } },
    { chain: unit, target: { ca: 5, ioa: 800 } },
  ],
  measurements: { machines: [{ ca: 5, ioa: 11, weight: 1 }], staleMs: 15_000 },
  shedding: { thresholdHz: -0.03, timeoutMs: 30_000, retryMs: 3_000, chains: ['shed'] },
}

const iedConfig = {
  ca: 5,
  samplePeriodMs: 20,
  telemetryPeriodMs: 10_000,
  telemetryDeadlineMs: 4_000,
  deadbandHz: 0.005,
}

export function lab(more: Partial<MasterConfig> = {}, policy: Policy = new GreedyPolicy()) {
  let state = 7
  const random = () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
  const master = new Master({ ...masterConfig, ...more }, { policy, random })
  const gateway = (id: string, up: number, down: number, endOf7: 0 | 1) =>
    new Gateway({
      id,
      links: [linkOptions(up, 1), linkOptions(down, 0), linkOptions(7, endOf7)],
      routes: { 5: [down, 7] },
      toCentre: [up, 7],
    })
  const rtu = new Rtu({
    id: 'rtu',
    ca: 5,
    upLinks: [linkOptions(3, 1), linkOptions(4, 1)],
    ieds: [
      { link: linkOptions(5, 0), ioas: [1, 2, 3, 700] },
      { link: linkOptions(6, 0), ioas: [11, 12, 13, 800] },
    ],
  })
  const points = { frequencyIoa: 1, voltageIoa: 2, breakerIoa: 3, commandIoa: 700 }
  const machinePoints = { frequencyIoa: 11, voltageIoa: 12, powerIoa: 13, setpointIoa: 800 }
  const device = { ...iedConfig, shedMw: 42.5, breakerDelayMs: 90 }
  const load = new Ied({ ...device, id: 'load', kind: 'load', bus: 16, link: linkOptions(5, 1), points })
  const machine = new Ied({
    ...device,
    id: 'machine',
    kind: 'generator',
    bus: 30,
    link: linkOptions(6, 1),
    points: machinePoints,
  })
  const world = new World()
    .add('master', master)
    .add('gwA', gateway('gwA', 1, 3, 0))
    .add('gwB', gateway('gwB', 2, 4, 1))
  world.add('rtu', rtu).add('load', load).add('machine', machine)
  world
    .connect(1, ['master', 'gwA'], 3)
    .connect(2, ['master', 'gwB'], 3)
    .connect(3, ['gwA', 'rtu'], 3)
    .connect(4, ['gwB', 'rtu'], 3)
  world.connect(5, ['rtu', 'load'], 1).connect(6, ['rtu', 'machine'], 1).connect(7, ['gwA', 'gwB'], 3)
  return { world: world.start(), master }
}
