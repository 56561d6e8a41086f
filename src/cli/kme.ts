import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Etsi014Manager, Etsi014MemoryStore, isSaeId, serveEtsi014 } from '../keypool/etsi014-index.ts'
import { writeLabCa } from '../keypool/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { parseBits, parseCount, parseListen, parseOptions } from './options.ts'
import { logLine, untilSignal } from './process/until-signal.ts'

const OPTIONS = {
  dir: { type: 'string' },
  sae: { type: 'string', multiple: true },
  id: { type: 'string', default: 'kme' },
  rate: { type: 'string', default: '14kbit' },
  cap: { type: 'string', default: '1Mbit' },
  'key-size': { type: 'string', default: '256' },
  listen: { type: 'string', default: '127.0.0.1:8443' },
  json: { type: 'boolean', default: false },
} as const

type Settings = {
  readonly dir: string
  readonly kmeId: string
  readonly saes: readonly string[]
  readonly rateBps: number
  readonly capBits: number
  readonly keySizeBits: number
  readonly host: string
  readonly port: number
  readonly json: boolean
}

const TICK_MS = 100
/** Node ids of certificates are DNS labels. */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i

export const command: Command = {
  summary: 'serve keys as an ETSI GS QKD 014 key manager',
  help: `
usage: q104 kme --dir DIR --sae NAME --sae NAME [--sae ...] [options]

A key manager by ETSI GS QKD 014 V1.1.1 over HTTPS, with key from the local random source, for programs that speak that
interface and for trials without QKD equipment. Makes an authority and a certificate for the manager and for every SAE in
DIR (readable by the owner only); an SAE is who its certificate says. Any two SAEs share key.

  --dir DIR               where certificates are kept; made if it is missing
  --sae NAME              an SAE; letters, digits and hyphens
  --id kme                the manager's own name
  --rate 14kbit           key generated for each two SAEs, a second (bit, kbit, Mbit)
  --cap 1Mbit             most key kept for each two SAEs
  --key-size 256          size of a key, in bits, where the caller names none
  --listen 127.0.0.1:8443 address to serve on
  --json                  one JSON object a call instead of a line for people

Example: ./q104 kme --dir kme --sae sae-a --sae sae-b`,
  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    if (positionals.length > 0) throw new CliError(`found '${positionals.join(' ')}', expected options only`)
    if (values.dir === undefined) throw new CliError('--dir DIR is needed')
    const { host, port } = parseListen(values.listen, '--listen')
    const settings: Settings = {
      dir: values.dir,
      kmeId: parseName(values.id, '--id'),
      saes: parseSaes(values.sae ?? [], values.id),
      rateBps: parseBits(values.rate, '--rate'),
      capBits: parseBits(values.cap, '--cap'),
      keySizeBits: parseCount(values['key-size'], '--key-size'),
      host,
      port,
      json: values.json,
    }
    return serve(settings, untilSignal())
  },
}

async function serve(settings: Settings, ended: Promise<number>): Promise<number> {
  const { dir, kmeId, saes, rateBps, capBits, keySizeBits, host, json } = settings
  const ca = await writeLabCa(dir, [kmeId, ...saes], Date.now())
  const { certPem = '', keyPem = '' } = ca.nodes.get(kmeId) ?? {}
  const store = new Etsi014MemoryStore(capBits)
  const server = await serveEtsi014({
    manager: managerOf(settings, store),
    host,
    port: settings.port,
    tls: { caPem: ca.caPem, certPem, keyPem },
    nowMs: () => performance.now(),
    onCall: (call) => logLine({ name: 'call', ...call }, json),
  }).catch((error: unknown) => {
    throw new CliError(`cannot serve on ${host}:${settings.port}: ${String(error)}`)
  })
  const startMs = performance.now()
  let doneBytes = 0
  const timer = setInterval(() => {
    const wholeBytes = Math.floor((rateBps * (performance.now() - startMs)) / 8000)
    // After a long halt no more than the cap, so that a laptop which slept does not make hours of key at once.
    const bytes = Math.min(wholeBytes - doneBytes, Math.ceil(capBits / 8))
    for (const [first, second] of pairsOf(saes)) store.add(first, second, randomBytes(bytes))
    doneBytes = wholeBytes
  }, TICK_MS)
  process.stdout.write(`${introduction(settings, server.port, keySizeBits)}\n`)
  const exitCode = await ended
  clearInterval(timer)
  await server.close()
  return exitCode
}

function managerOf({ kmeId, saes, keySizeBits }: Settings, store: Etsi014MemoryStore): Etsi014Manager {
  if (keySizeBits % 8 !== 0 || keySizeBits < 64 || keySizeBits > 65_536) {
    throw new CliError(`--key-size: found ${keySizeBits}, expected a multiple of 8 in 64 to 65536`)
  }
  return new Etsi014Manager({
    kmeId,
    saes: saes.map((saeId) => ({ saeId })),
    store,
    newKeyId: randomUUID,
    keySizeBits,
    // All key here comes from one place: no relay, so this is the route that can be had.
    extensions: new Map([['route_type', (value) => value === 'direct']]),
  })
}

function introduction({ dir, saes, host }: Settings, port: number, keySizeBits: number): string {
  const [master = '', slave = ''] = saes
  const curl = (sae: string): string => {
    return `curl --cacert ${join(dir, 'ca.pem')} --cert ${join(dir, `${sae}.pem`)} --key ${join(dir, `${sae}.key.pem`)}`
  }
  const base = `https://${host}:${port}/api/v1/keys`
  return [
    `ETSI GS QKD 014 on https://${host}:${port}, SAEs ${saes.join(', ')}, keys of ${keySizeBits} bits`,
    `  ${curl(master)} ${base}/${slave}/status`,
    `  ${curl(master)} ${base}/${slave}/enc_keys`,
    `  ${curl(slave)} '${base}/${master}/dec_keys?key_ID=...'`,
  ].join('\n')
}

function pairsOf(saes: readonly string[]): (readonly [string, string])[] {
  return saes.flatMap((first, index) => saes.slice(index + 1).map((second) => [first, second] as const))
}

function parseSaes(names: readonly string[], kmeId: string): readonly string[] {
  if (names.length < 2) throw new CliError('--sae NAME is needed twice at least, such as --sae sae-a --sae sae-b')
  if (names.length > 64) throw new CliError(`--sae: found ${names.length} SAEs, expected 64 at most`)
  if (new Set([...names, kmeId]).size <= names.length) throw new CliError('--sae, --id: a name is given twice')
  return names.map((name) => parseName(name, '--sae'))
}

function parseName(text: string, option: string): string {
  if (!LABEL.test(text) || !isSaeId(text) || text === 'ca') {
    throw new CliError(`${option}: found '${text}', expected letters, digits and hyphens, other than ca`)
  }
  return text
}
