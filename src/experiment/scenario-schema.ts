/**
 * The schema of a scenario file: what may stand in it, with units, ranges and defaults.
 *
 * Every object is strict (an unknown key is an error). What needs more than one value to be judged (does this bus exist,
 * is this path walked by links) is checked in `scenario-check.ts`.
 */
import { z } from 'zod'

// Our own limits: they keep a mistyped number from becoming an hour of start-up or a full disk.
const MAX_DURATION_S = 86_400
const MAX_NODES = 2_000
/** A channel number is 2 x link + direction in 16 bits. */
const MAX_LINKS = 4_000
const MAX_CHAINS = 5_000
const MAX_EVENTS = 10_000

const positive = () => z.number().positive()
const ratio = () => z.number().min(0).max(1)
const atS = z.number().min(0).max(MAX_DURATION_S).describe('Lab time, seconds since the start of the run')

/** Names of nodes, links and chains: also used in file, namespace and certificate names. */
const id = () =>
  z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/, 'a letter, then at most 31 letters, digits, "_" or "-"')
/** An object that may be left out: all its defaults apply. */
const section = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape).prefault({} as never)

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

const RateModel = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('bb84'),
    effectiveRatePerS: positive()
      .max(1e12)
      .default(1e5)
      .describe('R_eff: clock x mean photon number x detector efficiency; 1e5 gives about 14 kbit/s at 20 km'),
    siftRatio: ratio().default(0.5).describe('q, share of detections kept in sifting'),
    misalignmentRatio: ratio().max(0.5).default(0.02).describe('e_d, wrong detections of the signal'),
    backgroundPerS: z.number().min(0).max(1e12).default(0).describe('B, detections without signal'),
    errorCorrection: z.number().min(1).max(2).default(1.16).describe('f_EC; 1 is the Shannon limit'),
  }),
  z.strictObject({
    kind: z.literal('decoy'),
    clockHz: positive().max(1e12),
    siftRatio: ratio().default(0.5),
    meanPhotons: positive().max(10).describe('mu of the signal pulses'),
    receiverRatio: positive().max(1).describe('eta_Bob: receiver optics and detectors'),
    darkPerPulse: ratio().describe('Y_0'),
    misalignmentRatio: ratio().max(0.5),
    errorCorrection: z.number().min(1).max(2).default(1.16),
  }),
])

const LinkModel = section({
  rateModel: RateModel.prefault({ kind: 'bb84' }),
  attenuationDbPerKm: z.number().min(0).max(10).default(0.2),
  attenuationStdDbPerKm: z.number().min(0).max(1).default(0.04).describe('Of the slow drift of the attenuation'),
  attenuationTauS: positive().max(1e6).default(60).describe('Correlation time of the attenuation'),
  rateTauS: positive().max(1e6).default(5).describe('1/lambda_G: how fast the rate follows its mean'),
  rateStdRatio: ratio().default(0.05).describe('Noise of the rate, of its mean'),
  breakRatePerS: z
    .number()
    .min(0)
    .max(10)
    .default(1 / 5000)
    .describe('Poisson rate of breaks, each link'),
  breakDurationS: z
    .tuple([positive().max(3600), positive().max(3600)])
    .default([3, 5])
    .describe('Shortest and longest break, uniform between'),
  recoveryS: z.number().min(0).max(3600).default(0).describe('Ramp of the rate after a break'),
})

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

const Quota = z.strictObject({
  id: id(),
  links: z.array(id()).min(1).max(MAX_LINKS).describe('Ids of the links whose channels draw on it'),
  from: z
    .array(id())
    .min(1)
    .max(MAX_LINKS)
    .optional()
    .describe('Ids of the QKD links whose key it shares in; default all'),
  weight: positive().max(1e6).default(1).describe('Its part of that key, against the weights of the others'),
  capBits: positive()
    .max(1e12)
    .optional()
    .describe('The most it holds; default a part of thresholds.capBits by weight'),
})

const Keys = section({
  pool: z
    .enum(['shared', 'perLink', 'quota'])
    .default('shared')
    .describe('One stock for all links, one for each link, or one for each quota'),
  quotas: z
    .union([z.literal('auto'), z.array(Quota).min(1).max(MAX_LINKS)])
    .default('auto')
    .describe(
      'With pool: quota. auto: every chain gets an equal part of key and cap, spread over the hops of its path',
    ),
  reserve: section({
    authenticationBits: z
      .number()
      .min(0)
      .max(1e12)
      .optional()
      .describe('Kept for handshakes and supervision; default 1/32 of capBits, with pool: quota none'),
    topChainBits: z
      .number()
      .min(0)
      .max(1e12)
      .optional()
      .describe('Kept for the chains of the highest priority; default 1/32 of capBits, with pool: quota none'),
  }).describe('Parts of the pool that nobody else can spend'),
  relayNodes: z
    .array(id())
    .max(MAX_NODES)
    .optional()
    .describe('Nodes that are trusted with the key of relay links on its way; default all'),
  linkModel: LinkModel,
  initialBits: z.number().min(0).max(1e12).optional().describe('Stock at the start; default half of capBits'),
  thresholds: section({
    safeBits: positive().max(1e12).default(16_000).describe('K_safe: below it only protected classes draw key'),
    thBits: positive().max(1e12).default(32_000).describe('K_th: below it chains are reconfigured'),
    capBits: positive().max(1e12).default(144_000).describe('K_cap: what is generated above it is discarded'),
  }),
  aesMaxMessages: z.int().min(1).max(1_000_000).default(64).describe('Messages under one AES key'),
  aesMaxS: positive().max(86_400).default(60).describe('Age of an AES key'),
  expiryS: positive()
    .max(1e6)
    .default(3600)
    .describe('Age at which key in the pool, or fetched and not used, is thrown away'),
  buffer: section({
    lowBits: z.int().min(256).max(1e9).default(1_024).describe('A channel asks for more below this'),
    highBits: z.int().min(512).max(1e9).default(2_048).describe('and asks for enough to reach this'),
  }).describe('Key fetched ahead by each channel, so that no command waits for the key server'),
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
const ChainEntry = z.strictObject({
  id: id(),
  taskType: z.enum(['shedding', 'agc', 'setpoint']),
  priority: z.int().min(0).max(255).optional().describe('Lower goes first; default by task type'),
  requiredSuite: Suite.optional().describe('Default: that of its task type'),
  allowedSuites: z.array(Suite).min(1).max(2).default(['otp', 'aes']).describe('What the scheduler may choose'),
  path: walk.describe('Node ids from the master to an IED'),
  alternatives: z.array(walk).max(7).default([]),
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
  scheduler: section({
    policy: z.enum(['greedy', 'static']).default('greedy'),
    tickMs: positive().min(10).max(60_000).default(100),
    requeueMs: positive()
      .max(60_000)
      .default(500)
      .describe('Age in a queue at which a command is planned anew (greedy)'),
    horizonS: positive().max(3600).default(10).describe('Time over which the stock above the reserve may be spent'),
    dwellS: z.number().min(0).max(3600).default(2).describe('Time after a chain was lowered in which none is raised'),
    protectedPriority: z
      .int()
      .min(0)
      .max(255)
      .default(0)
      .describe('Chains this urgent keep their suite below safeBits'),
  }),
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

/** JSON Schema (draft 2020-12) of a scenario file, for editors. */
export function scenarioJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(ScenarioSchema, { io: 'input' }) as Record<string, unknown>
}
