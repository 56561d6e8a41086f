/** The part of the scenario's schema that says where the key comes from, who gets it, and how much of it is kept. */
import { z } from 'zod'
import { id, MAX_LINKS, MAX_NODES, positive, ratio, section } from './schema-parts.ts'

export const RateModel = z.discriminatedUnion('kind', [
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

const file = z.string().min(1).max(4096)
const Sae = z.strictObject({
  id: z.string().min(1).max(64).describe('SAE ID, as the key manager knows it'),
  url: z
    .string()
    .max(2000)
    .regex(/^https:\/\/[^\s/?#]+/, 'https://HOST:PORT')
    .describe('Where its key manager listens, without /api/v1/keys'),
  ca: file.describe("Authority of the manager's certificate, PEM; relative to the scenario, as all files here"),
  cert: file.describe('Certificate of the SAE, PEM'),
  key: file.describe('Private key of the SAE, PEM'),
  serverName: z
    .string()
    .min(1)
    .max(253)
    .optional()
    .describe("Name in the manager's certificate, if not the host in url"),
})

/** A common name of a certificate: a DNS label. */
const SaeName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/i, 'letters, digits and hyphens, at most 32')

const Etsi014 = z.strictObject({
  links: z
    .array(
      z.strictObject({
        link: id().describe('Id of a link with keys: pool'),
        master: Sae.describe('The SAE that asks with enc_keys'),
        slave: Sae.describe('The SAE that asks with dec_keys; its manager may be another one'),
        keySizeBits: z.int().min(64).max(65_536).multipleOf(8).optional().describe("Default: the manager's key_size"),
      }),
    )
    .max(MAX_LINKS)
    .default([]),
  pollMs: z.int().min(10).max(60_000).default(500).describe('How often the managers are asked whether there is key'),
})

const Serve014 = z.strictObject({
  listen: z
    .string()
    .regex(/^127\.\d{1,3}\.\d{1,3}\.\d{1,3}:\d{1,5}$/, 'an address of this machine alone, 127.0.0.1:PORT')
    .default('127.0.0.1:8444')
    .describe('Where outside programs call; port 0 takes any free one'),
  pairs: z
    .array(
      z.strictObject({
        link: id().describe('Id of a link with keys: pool, whose key the two share'),
        saes: z
          .tuple([SaeName, SaeName])
          .describe('SAE IDs of the two; each gets a certificate in the sae folder of the run'),
      }),
    )
    .min(1)
    .max(64),
  keySizeBits: z
    .int()
    .min(64)
    .max(65_536)
    .multipleOf(8)
    .default(256)
    .describe('Size of a key where the caller names none'),
})

export const Keys = section({
  source: z
    .enum(['model', 'etsi014'])
    .default('model')
    .describe('Who makes the key of links with QKD: the link model, or key managers by ETSI GS QKD 014'),
  etsi014: Etsi014.optional().describe('With source: etsi014. Which manager has the key of which link'),
  serve014: Serve014.optional().describe(
    'Programs outside the lab get key of its links, as SAEs by ETSI GS QKD 014; live runs only',
  ),
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
  order: z
    .enum(['fair', 'arrival'])
    .default('fair')
    .describe(
      'Who waits for a stock is served in fair turns, or first come, first served; arrival also has each channel ask at once for the key of all that it has queued, and not of the next message only',
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
