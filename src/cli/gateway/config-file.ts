import { isIP } from 'node:net'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { type BumpConfig, NEAR_DEFAULTS } from '../../gateway/bump/index.ts'
import { LINK_DEFAULTS } from '../../protocol/index.ts'
import type { TlsOptions } from '../../runtime/index.ts'
import { loadYaml } from './yaml-file.ts'

/** Ports of IEC 60870-5-104, plain and over TLS (IANA iec-104, iec-104-sec). */
const PLAIN_PORT = 2404
const TLS_PORT = 19_998
const DEFAULT_UDP_PORT = 20_104
const DEFAULT_KEYSERVER_PORT = 10_443
const SLOT_BITS = 32
/** The longest ASDU takes this many slots, those that the link keeps for supervision included. */
const MIN_AES_BELOW_SLOTS = 96

type HostPort = { readonly host: string; readonly port: number | undefined }

/** `host:port`, `[v6]:port`, or a host alone. */
const hostPort = z.string().transform((text, context): HostPort => {
  const [, v6, plain, digits] = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/i.exec(text) ?? []
  const host = v6 ?? plain ?? ''
  const port = digits === undefined ? undefined : Number(digits)
  if (host !== '' && (port === undefined || port <= 65_535)) return { host, port }
  context.addIssue(`found '${text}', expected host:port, such as 192.0.2.10:2404`)
  return z.NEVER
})

const ms = (min: number) => z.number().min(min).max(3_600_000)
const window = z.int().min(1).max(32_767)
const udpPort = z.int().min(1).max(65_535)
const ipv4 = z.string().refine((text) => isIP(text) === 4, 'expected an IPv4 address')
const nodeId = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/, 'expected letters, digits and hyphens')
const file = z.string().min(1)

const Tls = z.strictObject({
  ca: file.describe('Authorities that the peer may come from, PEM; relative to this file, as all files here'),
  cert: file,
  key: file,
  crl: file.optional().describe('Revoked certificates'),
  minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
  names: z.array(z.string().min(1)).min(1).optional().describe('Names (CN or DNS) that the peer may have'),
  sessionLifetimeS: z.int().min(1).max(86_400).default(3600).describe('How long a TLS session may be resumed'),
})

const Near = z
  .strictObject({
    listen: hostPort.optional().describe('Masters connect here: this end is their controlled station'),
    dial: hostPort.optional().describe('The outstation: this end is its controlling station'),
    tls: Tls.optional().describe('TLS by IEC 62351-3, both ends with certificates; without: plain TCP'),
    maxConnections: z.int().min(1).max(64).default(4).describe('listen: most masters at a time, one of them started'),
    k: window.default(NEAR_DEFAULTS.k),
    w: window.default(NEAR_DEFAULTS.w),
    t0Ms: ms(100).default(30_000),
    t1Ms: ms(100).default(NEAR_DEFAULTS.t1Ms),
    t2Ms: ms(10).default(NEAR_DEFAULTS.t2Ms),
    t3Ms: ms(100).default(NEAR_DEFAULTS.t3Ms),
  })
  .refine(({ listen, dial }) => (listen === undefined) !== (dial === undefined), 'expected either listen or dial')
  .refine(({ t1Ms, t2Ms }) => t2Ms < t1Ms, 't2Ms is to be below t1Ms')

const Far = z
  .strictObject({
    link: z.int().min(0).max(32_767).describe('Number of the link at the key server'),
    end: z.literal([0, 1]).describe('0: the end that the key server names first, 1: the other'),
    local: ipv4.describe('Own address of the link'),
    peer: ipv4.describe("The twin's address; the port is the same"),
    port: udpPort.default(DEFAULT_UDP_PORT).describe('UDP port at both ends'),
    twin: nodeId.optional().describe('`id` of the twin: one that says another in its HANDSHAKE is refused'),
    suite: z.enum(['otp', 'aes']).default('otp').describe('Suite of the ASDUs'),
    aesBelowBits: z
      .int()
      .min(MIN_AES_BELOW_SLOTS * SLOT_BITS)
      .optional()
      .describe('With otp: below this much key at hand ASDUs go by AES. Without it they wait for key'),
    aheadBits: z
      .int()
      .min(4096)
      .max(2 ** 23)
      .default(32_768)
      .describe('Key to have at hand in each direction'),
    k: window.default(32),
    w: window.default(LINK_DEFAULTS.w),
    t1Ms: ms(100).default(10_000).describe('The link is given up after this time without an answer'),
    t2Ms: ms(1).default(LINK_DEFAULTS.t2Ms),
    t3Ms: ms(100).default(5000).describe('The link is tested after this time without a frame'),
  })
  .refine(({ t1Ms, t2Ms }) => t2Ms < t1Ms, 't2Ms is to be below t1Ms')
  .refine(
    ({ aesBelowBits, aheadBits }) => aesBelowBits === undefined || 2 * aesBelowBits <= aheadBits,
    'aesBelowBits is to be at most half of aheadBits',
  )

const Kme = z.strictObject({
  url: z
    .string()
    .regex(/^https:\/\/[^\s/?#]+/, 'expected https://HOST:PORT')
    .describe("This gateway's key manager, without /api/v1/keys"),
  serverName: z.string().min(1).optional().describe("Name in the manager's certificate, if not the host in url"),
  twin: z.string().min(1).max(64).describe('SAE ID of the twin'),
  secret: file.describe('32 octets or more that both gateways have and nobody else: they authenticate the key_IDs'),
  port: udpPort.optional().describe("UDP port at both ends for the key_IDs (default: the link's, and one)"),
  keySizeBits: z.int().min(64).max(65_536).multipleOf(32).default(256).describe('Size of the keys asked for'),
})

const Keys = z
  .strictObject({
    server: hostPort.optional().describe('Address of the key server'),
    kme: Kme.optional().describe('Instead of a key server: a key manager by ETSI GS QKD 014 for each gateway'),
    name: z.string().min(1).default('keyserver').describe("Name in the key server's certificate"),
    ca: file,
    cert: file.describe('Certificate of this gateway; its CN is `id`, or the SAE ID at its key manager'),
    key: file,
    ledger: file.optional().describe('What key may have been used, over all starts (default `id`.ledger)'),
  })
  .refine(({ server, kme }) => (server === undefined) !== (kme === undefined), 'expected either server or kme')

const GatewayFile = z.strictObject({
  id: nodeId,
  near: Near,
  far: Far,
  keys: Keys,
})

/** A gateway's own key manager. */
export type KmeSettings = {
  readonly url: string
  readonly serverName?: string
  readonly twinSae: string
  readonly secretFile: string
  readonly port: number
  readonly keySizeBits: number
}

/** A gateway as its file describes it, with all defaults. */
export type GatewaySettings = {
  readonly id: string
  readonly near: {
    readonly kind: 'listen' | 'dial'
    readonly host: string
    readonly port: number
    readonly t0Ms: number
    readonly tls: TlsOptions | undefined
  }
  readonly far: { readonly link: number; readonly local: string; readonly peer: string; readonly port: number }
  readonly keys: {
    readonly address: string
    readonly name: string
    readonly files: TlsOptions
    readonly ledgerFile: string
    /** Absent: key comes from the key server at `address`. */
    readonly kme?: KmeSettings
  }
  readonly bump: Omit<BumpConfig, 'link'> & { readonly link: Omit<BumpConfig['link'], 'epoch'> }
}

/** Reads a gateway's file. @throws CliError with every problem, one a line. */
export async function loadGatewayFile(path: string): Promise<GatewaySettings> {
  const settings = await loadYaml(path, GatewayFile)
  return settingsOf(settings, (name) => resolve(dirname(path), name))
}

function settingsOf(
  { id, near, far, keys }: z.infer<typeof GatewayFile>,
  pathOf: (name: string) => string,
): GatewaySettings {
  const { listen, dial, tls, maxConnections, k, w, t0Ms, t1Ms, t2Ms, t3Ms } = near
  const { host, port = tls === undefined ? PLAIN_PORT : TLS_PORT } = listen ?? dial ?? { host: '', port: 0 }
  const { aesBelowBits, aheadBits, suite, link, end, local, peer, port: udp, twin, ...timers } = far
  return {
    id,
    near: {
      kind: listen === undefined ? 'dial' : 'listen',
      host,
      port,
      t0Ms,
      tls: tls && {
        caFile: pathOf(tls.ca),
        certFile: pathOf(tls.cert),
        keyFile: pathOf(tls.key),
        ...(tls.crl !== undefined && { crlFile: pathOf(tls.crl) }),
        minVersion: tls.minVersion,
        sessionLifetimeS: tls.sessionLifetimeS,
        ...(tls.names !== undefined && { peerNames: tls.names }),
      },
    },
    far: { link, local, peer, port: udp },
    keys: {
      address: keys.server === undefined ? '' : addressOf(keys.server),
      ...(keys.kme !== undefined && { kme: kmeOf(keys.kme, udp, pathOf) }),
      name: keys.name,
      files: { caFile: pathOf(keys.ca), certFile: pathOf(keys.cert), keyFile: pathOf(keys.key) },
      ledgerFile: pathOf(keys.ledger ?? `${id}.ledger`),
    },
    bump: {
      side: listen === undefined ? 'dial' : 'accept',
      near: { k, w, t1Ms, t2Ms, t3Ms },
      link: {
        ...LINK_DEFAULTS,
        ...timers,
        link,
        end,
        ...(twin !== undefined && { names: { own: id, peer: twin } }),
        // The gateway gives the link one message at a time.
        queueLimit: 4,
        lowWaterSlots: Math.floor(aheadBits / SLOT_BITS / 2),
        highWaterSlots: Math.floor(aheadBits / SLOT_BITS),
      },
      suite,
      ...(aesBelowBits !== undefined && { aesBelowSlots: Math.ceil(aesBelowBits / SLOT_BITS) }),
      maxConnections,
    },
  }
}

function addressOf({ host, port = DEFAULT_KEYSERVER_PORT }: HostPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

function kmeOf(
  { url, serverName, twin, secret, port, keySizeBits }: z.infer<typeof Kme>,
  linkPort: number,
  pathOf: (name: string) => string,
): KmeSettings {
  const name = serverName === undefined ? {} : { serverName }
  return { url, ...name, twinSae: twin, secretFile: pathOf(secret), port: port ?? linkPort + 1, keySizeBits }
}
