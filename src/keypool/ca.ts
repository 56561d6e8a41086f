import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type NodeCertificate = { readonly certPem: string; readonly keyPem: string }

/** A lab's certificate authority and one certificate a node. The authority's own key is forgotten once all are signed. */
export type LabCa = { readonly caPem: string; readonly nodes: ReadonlyMap<string, NodeCertificate> }

const DAY_MS = 86_400_000
const LIFE_DAYS = 365
const CURVE = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
/** Node ids become common names, DNS names and file names. */
const NODE_ID = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i

/**
 * Makes a CA and a certificate (EC P-256, CN = node id, for TLS client and server) for each node id. `wallMs` is the wall
 * clock; they are valid from a day before it for a year. Throws if an id is not a DNS label (letters, digits, hyphens).
 */
export async function makeLabCa(nodeIds: readonly string[], wallMs: number): Promise<LabCa> {
  const bad = nodeIds.filter((id) => !NODE_ID.test(id) || id === 'ca')
  if (bad.length > 0) throw new RangeError(`BAD_NODE_ID ${bad.join(', ')}: not a DNS label, or the word ca`)
  const x509 = await loadX509()
  const notBefore = new Date(wallMs - DAY_MS)
  const notAfter = new Date(notBefore.getTime() + LIFE_DAYS * DAY_MS)
  const validity = { notBefore, notAfter, signingAlgorithm: CURVE }
  const caKeys = await webcrypto.subtle.generateKey(CURVE, false, ['sign', 'verify'])
  const caName = `CN=Q104 lab CA ${randomBytes(4).toString('hex')}`
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: serialNumber(),
    name: caName,
    keys: caKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  })
  const issue = async (id: string): Promise<[string, NodeCertificate]> => {
    const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.create({
      ...validity,
      serialNumber: serialNumber(),
      subject: `CN=${id}`,
      issuer: caName,
      publicKey: keys.publicKey,
      signingKey: caKeys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([
          { type: 'dns', value: id },
          { type: 'dns', value: 'localhost' },
          { type: 'ip', value: '127.0.0.1' },
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
      ],
    })
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
    return [id, { certPem: certificate.toString('pem'), keyPem: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') }]
  }
  return { caPem: ca.toString('pem'), nodes: new Map(await Promise.all(nodeIds.map(issue))) }
}

/**
 * Makes the CA's files in `dir` (mode 0700; `ca.pem`, `ID.pem`, `ID.key.pem`, each 0600), or leaves them as they are if they
 * are whole and valid for these names for another day. Gives what is there then.
 */
export async function writeLabCa(dir: string, nodeIds: readonly string[], wallMs: number): Promise<LabCa> {
  const present = readLabCa(dir, nodeIds, wallMs)
  if (present !== undefined) return present
  const made = await makeLabCa(nodeIds, wallMs)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  chmodSync(dir, 0o700)
  for (const [id, { certPem, keyPem }] of made.nodes) {
    writeSecret(join(dir, `${id}.pem`), certPem)
    writeSecret(join(dir, `${id}.key.pem`), keyPem)
  }
  writeSecret(join(dir, 'ca.pem'), made.caPem)
  return made
}

/** Reads what `writeLabCa` wrote; undefined if a file is missing, broken, of another CA or not valid for another day. */
function readLabCa(dir: string, nodeIds: readonly string[], wallMs: number): LabCa | undefined {
  try {
    const caPem = readFileSync(join(dir, 'ca.pem'), 'utf8')
    const ca = new X509Certificate(caPem)
    const nodes = new Map<string, NodeCertificate>()
    for (const id of nodeIds) {
      const certPem = readFileSync(join(dir, `${id}.pem`), 'utf8')
      const keyPem = readFileSync(join(dir, `${id}.key.pem`), 'utf8')
      const certificate = new X509Certificate(certPem)
      const fits = certificate.subject === `CN=${id}` && certificate.verify(ca.publicKey)
      const inTime = Date.parse(certificate.validFrom) <= wallMs && Date.parse(certificate.validTo) >= wallMs + DAY_MS
      if (!fits || !inTime || !certificate.checkPrivateKey(createPrivateKey(keyPem))) return undefined
      nodes.set(id, { certPem, keyPem })
    }
    return { caPem, nodes }
  } catch {
    return undefined // Whatever is wrong with the files, new ones put it right.
  }
}

/** A reader never sees half a file, nor one that others may read. */
function writeSecret(path: string, text: string): void {
  const temporary = `${path}.new`
  writeFileSync(temporary, text, { mode: 0o600 })
  chmodSync(temporary, 0o600)
  renameSync(temporary, path)
}

function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40 // Positive and of full length in DER.
  return bytes.toString('hex')
}

async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  shimReflectMetadata()
  const x509 = await import('@peculiar/x509')
  x509.cryptoProvider.set(webcrypto)
  return x509
}

/**
 * A part of @peculiar/x509 refuses to load without `Reflect.getMetadata`, and then asks it only for decorator metadata,
 * of which its compiled code has none.
 */
function shimReflectMetadata(): void {
  if ('getMetadata' in Reflect) return
  const none = { value: (): undefined => undefined, configurable: true, writable: true }
  Object.defineProperties(Reflect, { getMetadata: none, getOwnMetadata: none, defineMetadata: none })
}
