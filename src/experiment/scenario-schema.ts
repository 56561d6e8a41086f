/**
 * The schema of a scenario file: what may stand in it, with units, ranges and defaults.
 *
 * Every object is strict (an unknown key is an error). What needs more than one value to be judged (does this bus exist,
 * is this path walked by links) is checked in `scenario-check.ts`.
 */
import { z } from 'zod'
import { Keys, RateModel } from './key-schema.ts'
import { SchedulerSchema } from './scheduler-schema.ts'
import { id, MAX_LINKS, MAX_NODES, positive, ratio, section } from './schema-parts.ts'

const MAX_DURATION_S = 86_400
const MAX_CHAINS = 5_000
const MAX_EVENTS = 10_000
/** Originator addresses have one octet. */
const MAX_AREAS = 32

const atS = z.number().min(0).max(MAX_DURATION_S).describe('Lab time, seconds since the start of the run')

const Suite = z.enum(['otp', 'aes']).describe('Cipher suite: one-time pad, or AES-128-GCM')
const bus = z.int().min(1).max(1_000_000).describe('Bus number of the grid case')
const busList = z.array(bus).max(MAX_NODES)

const Disturbance = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('loadStep'),
    atS,
    bus,
    mw: z.number().min(-100_000).max(100_000).describe('Load added (constant impedance), MW; negative takes load away'),
  }),
  z.strictObject({ kind: z.literal('trip'), atS, bus: bus.describe('Bus of the machine that is lost') }),
])

const Grid = z.strictObject({
  case: z.enum(['ieee39', 'ieee118']),
  model: z.enum(['twoaxis', 'classical']).default('twoaxis').describe('Machine model'),
  samplePeriodMs: positive().min(5).max(10_000).default(20).describe('Period of the samples an IED gets of its bus'),
  disturbances: z.array(Disturbance).max(MAX_EVENTS).default([]),
})

const Ied = z.discriminatedUnion('kind', [
  z.strictObject({
    id: id(),
    kind: z.literal('load'),
    rtu: id().describe('The RTU this IED hangs on'),
    bus,
    shedMw: positive().max(100_000).describe('Load its breaker sheds, MW'),
    breakerDelayMs: z.number().min(0).max(10_000).default(90).describe('Command to open contacts'),
  }),
  z.strictObject({ id: id(), kind: z.literal('generator'), rtu: id().describe('The RTU this IED hangs on'), bus }),
  z.strictObject({
    id: id(),
    kind: z.literal('pmu').describe('A phasor concentrator: blocks of values, see tasks.pmu; takes no commands'),
    rtu: id().describe('The RTU this IED hangs on'),
    bus,
  }),
])

const keysOf = z
  .enum(['pool', 'local', 'relay'])
  .describe(
    'pool: QKD, whose key goes to the pool; relay: no QKD, key is carried over links with QKD; local: a station-local store, not counted',
  )
const delayMs = z.number().min(0).max(60_000).describe('One-way delay; default 4.9 us/km plus 0.5 ms of devices')
const jitterMs = z.number().min(0).max(10_000).describe('Standard deviation of the delay')
const lossRatio = ratio().max(0.9).describe('Datagrams lost, each way')

const Link = z.strictObject({
  id: id().optional().describe('Default: the two ends joined by "-"'),
  between: z.tuple([id(), id()]).describe('The two ends. The end nearer to the centre becomes the controlling station'),
  lengthKm: positive().max(1_000),
  keys: keysOf.default('pool'),
  delayMs: delayMs.optional(),
  jitterMs: jitterMs.optional(),
  lossRatio: lossRatio.optional(),
  rateModel: RateModel.optional().describe('Overrides keys.linkModel.rateModel'),
})

const Topology = z.strictObject({
  nodes: z.strictObject({
    master: z.strictObject({
      id: id(),
      meterBus: bus
        .optional()
        .describe('Bus whose frequency the centre measures itself; default: it goes by what the machines report'),
    }),
    areaMasters: z
      .array(
        z.strictObject({
          id: id(),
          gateways: z
            .array(id())
            .min(1)
            .max(MAX_NODES)
            .describe('Its area: the stations whose first gateway is one of these'),
          meterBus: bus.optional().describe('As for the master'),
        }),
      )
      .max(MAX_AREAS)
      .default([])
      .describe(
        'Control centres of areas, beside the master; each has the stations and chains of its area, the master the rest and all of AGC',
      ),
    gateways: z
      .array(z.strictObject({ id: id() }))
      .max(MAX_NODES)
      .default([]),
    rtus: z
      .array(
        z.strictObject({
          id: id(),
          ca: z.int().min(1).max(65_534).optional().describe('Common address; default: place in the list, from 1'),
          tcp: z
            .strictObject({ port: z.int().min(1).max(65_535).default(2404) })
            .optional()
            .describe('Also serve controlling stations over plain 104/TCP, on its management address; default: no'),
        }),
      )
      .min(1)
      .max(MAX_NODES),
    ieds: z.array(Ied).min(1).max(MAX_NODES),
  }),
  links: z.array(Link).min(1).max(MAX_LINKS),
  stationLink: section({
    lengthKm: positive().max(1_000).default(0.1),
    keys: keysOf.default('local'),
    delayMs: delayMs.optional(),
  }).describe('The link between an RTU and its IED, where links does not list one'),
  linkDefaults: section({
    jitterMs: jitterMs.default(0.1),
    lossRatio: lossRatio.default(0),
  }).describe('For links that do not say otherwise'),
})

const taskSuite = (value: 'otp' | 'aes') => Suite.default(value).describe('Suite the task needs to count as full')
const deadlineS = (value: number) => positive().max(3600).default(value)

const Tasks = section({
  telemetry: section({
    periodS: positive().max(3600).default(10),
    deadlineS: deadlineS(4),
    suite: Suite.default('aes'),
    deadbandHz: positive().max(5).default(0.005).describe('Change of frequency that a generator IED reports at once'),
    loadDeadbandHz: positive()
      .max(5)
      .default(0.05)
      .describe('The same for load IEDs, which control does not listen to'),
    sendSuite: Suite.default('aes').describe('Suite in which it is sent, unless the scheduler decides (planned)'),
    planned: z
      .boolean()
      .default(false)
      .describe('The scheduler decides in which suite reports are sent: a chain a first gateway, and one a PMU'),
  }),
  pmu: section({
    periodS: positive().max(3600).default(1),
    objects: z.int().min(1).max(16).default(16).describe('Values in a block; 16 make an APDU of 252 octets'),
    deadlineS: deadlineS(1),
    suite: Suite.default('aes'),
  }).describe('Blocks of phasor concentrators (IEDs of kind pmu)'),
  events: section({
    atLoad: z.int().min(0).max(1000).default(0).describe('Events a load IED reports at a disturbance of the grid'),
    elsewhere: z.int().min(0).max(1000).default(0).describe('Events any other IED reports then'),
    withinS: positive().max(60).default(0.3).describe('Time over which they are spread'),
    deadlineS: deadlineS(10),
    suite: Suite.default('aes'),
  }).describe('Bursts of protection events (M_SP_TB_1) that a disturbance brings'),
  shedding: section({
    detectionHz: positive().max(5).default(0.03).describe('Fall of the estimated frequency that sheds load'),
    deadlineS: deadlineS(1),
    timeoutS: positive().max(3600).default(30).describe('How long after its issue a shed is still worth sending'),
    retryS: positive().max(3600).default(1).describe('A command that is not confirmed or refused is sent again'),
    requiredSuite: taskSuite('otp'),
  }),
  agc: section({
    units: busList.default([]).describe('Buses of the machines in secondary control'),
    periodS: positive().max(3600).default(4),
    deadlineS: deadlineS(2),
    kp: z.number().min(0).max(100).default(0.1).describe('Proportional gain on the MW shortage'),
    kiPerS: z.number().min(0).max(100).default(0.012).describe('Integral gain on the MW shortage, 1/s'),
    mwPerHz: positive().max(1e6).default(2367).describe('Bias: MW shortage per Hz of deviation'),
    requiredSuite: taskSuite('otp'),
  }),
  setpoints: section({
    units: z
      .union([z.literal('others'), busList])
      .default('others')
      .describe('Buses of the machines, or "others": every generator IED with a governor that agc does not use'),
    ratePerS: z.number().min(0).max(1000).default(0).describe('Poisson rate, each unit'),
    stepMw: z.number().min(0).max(1000).default(2).describe('Largest change of a set-point, MW'),
    deadlineS: deadlineS(2),
    timeoutS: positive().max(3600).default(10).describe('Age at which a set-point is given up'),
    requiredSuite: taskSuite('otp'),
  }),
})

const walk = z.array(id()).min(2).max(16)
/** A chain as a file or the REST interface gives it. */
export const ChainEntry = z.strictObject({
  id: id(),
  taskType: z.enum(['shedding', 'agc', 'setpoint']),
  priority: z.int().min(0).max(255).optional().describe('Lower goes first; default by task type'),
  requiredSuite: Suite.optional().describe('Default: that of its task type'),
  allowedSuites: z.array(Suite).min(1).max(2).default(['otp', 'aes']).describe('What the scheduler may choose'),
  path: walk.describe('Node ids from the master to an IED'),
  alternatives: z.array(walk).max(7).default([]),
  deadlineMs: positive().max(3_600_000).optional().describe('Default: that of its task type'),
  ratePerS: z
    .number()
    .min(0)
    .max(10_000)
    .optional()
    .describe('Messages a second; default: as its task type makes them'),
  lossWeight: z.number().min(0).max(1e9).optional().describe('Cost of a second off (xi_drop); default 10'),
  degradeWeight: z
    .number()
    .min(0)
    .max(1e9)
    .optional()
    .describe('Cost of a second below the required suite (xi_deg); default 1'),
  switchWeight: z.number().min(0).max(1e9).optional().describe('Cost of a change of state (gamma); default 0.1'),
})

const fault = { atS, link: id().describe('Link id'), forS: positive().max(MAX_DURATION_S) }
const Fault = z.discriminatedUnion('kind', [
  z.strictObject({ ...fault, kind: z.literal('cutLink') }),
  z.strictObject({
    ...fault,
    kind: z.literal('emi'),
    errorRatio: ratio().max(0.5).describe("Added to the link's bit error rate (interference, vibration)"),
  }),
  z.strictObject({ ...fault, kind: z.literal('attenuation'), addedDb: positive().max(100).describe('Bending, wind') }),
])

/** The schema; parsed once, in `parseScenario`. */
export const ScenarioSchema = z.strictObject({
  name: id(),
  description: z.string().max(2_000).optional(),
  seed: z.int().min(0).max(4_294_967_295).default(1),
  durationS: positive().max(MAX_DURATION_S).describe('Length of the run, warm-up included'),
  warmupS: z.number().min(0).max(MAX_DURATION_S).default(0).describe('Tasks and key of the time before are not judged'),
  grid: Grid,
  topology: Topology,
  keys: Keys,
  tasks: Tasks,
  chains: z
    .union([z.literal('auto'), z.array(ChainEntry).max(MAX_CHAINS)])
    .default('auto')
    .describe('auto: one for each shedding IED, AGC unit and set-point unit'),
  scheduler: SchedulerSchema,
  faults: z.array(Fault).max(MAX_EVENTS).default([]),
  alerts: section({
    frequencyHz: positive().max(10).default(0.2).describe('Deviation of the centre of inertia that raises an alert'),
    missRatio: ratio().default(0.05).describe('Share of late commands within missWindowS that raises an alert'),
    minMisses: z.int().min(1).max(10_000).default(2).describe('How many must be late at least'),
    missWindowS: positive().max(3600).default(30),
    raiseAfterS: z.number().min(0).max(60).default(0.3).describe('How long a condition holds before it is told'),
    clearAfterS: z.number().min(0).max(600).default(2).describe('How long it is over before that is told'),
  }),
  outputs: section({
    capture: z.boolean().default(true).describe('capture.pcapng'),
    keylog: z.boolean().default(false).describe('keys.log, the keys of the run in clear'),
    drainS: z.number().min(0).max(600).default(3).describe('Time after the end in which what is under way may finish'),
  }),
})

/** A scenario with all defaults in place. Durations in seconds, lengths in km, power in MW, key in bits. */
export type Scenario = z.infer<typeof ScenarioSchema>
export type ScenarioIed = Scenario['topology']['nodes']['ieds'][number]
export type ScenarioChain = Exclude<Scenario['chains'], 'auto'>[number]
