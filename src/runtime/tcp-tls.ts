import { constants, createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type PeerCertificate, type SecureContextOptions } from 'node:tls'

/** A connection's fault that is for people to mend: what could not be opened, and why. */
export class TcpError extends Error {
  override readonly name = 'TcpError'
}

/** Transport security by the profile of IEC 62351-3. Files are PEM. */
export type TlsOptions = {
  /** Certificates of the authorities that the peer's certificate may come from. */
  readonly caFile: string
  /** Own certificate, with the chain below the authority if there is one. */
  readonly certFile: string
  readonly keyFile: string
  /** Revoked certificates, one list for each authority. */
  readonly crlFile?: string
  /** Default TLSv1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** Listening: a client must show a certificate of `caFile`. Default true. Whom one dials must always show one. */
  readonly requirePeer?: boolean
  /** Names (CN or DNS) that the peer may have. Default: dialling, the host dialled; listening, any. */
  readonly peerNames?: readonly string[]
  /** How long a session may be resumed before a full handshake is due, s (default 3600, at most 86 400). */
  readonly sessionLifetimeS?: number
}

/** TLS as sockets take it, made of files that were read and checked. */
export type TlsMaterial = {
  readonly context: SecureContextOptions
  readonly sessionLifetimeS: number
  readonly requirePeer: boolean
  readonly peerNames: readonly string[] | undefined
}

/** Key exchange with forward secrecy and an AEAD cipher only, the set of IEC 62351-3 for TLS 1.2, and all of TLS 1.3. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES256-GCM-SHA384',
].join(':')

const DEFAULT_SESSION_LIFETIME_S = 3600
const MAX_SESSION_LIFETIME_S = 86_400

/** Reads and checks the files of `options`. @throws TcpError that names the file and what is wrong with it. */
export function loadTls(options: TlsOptions, wallMs: number): TlsMaterial {
  const { minVersion = 'TLSv1.2', requirePeer = true, peerNames, sessionLifetimeS } = options
  const ca = read(options.caFile)
  const cert = read(options.certFile)
  const key = read(options.keyFile)
  const crl = options.crlFile === undefined ? undefined : read(options.crlFile)
  certificateOf(options.caFile, ca)
  const own = certificateOf(options.certFile, cert)
  const privateKey = attempt(options.keyFile, 'holds no private key in PEM without a password', () =>
    createPrivateKey(key),
  )
  if (!own.checkPrivateKey(privateKey)) {
    throw new TcpError(`${options.keyFile}: is not the key of the certificate in ${options.certFile}`)
  }
  if (Date.parse(own.validTo) < wallMs) throw new TcpError(`${options.certFile}: expired on ${own.validTo}`)
  if (Date.parse(own.validFrom) > wallMs) throw new TcpError(`${options.certFile}: not valid before ${own.validFrom}`)
  const context: SecureContextOptions = {
    ca,
    cert,
    key,
    ...(crl !== undefined && { crl }),
    minVersion,
    ciphers: CIPHERS,
    honorCipherOrder: true,
    sessionTimeout: lifetimeS(sessionLifetimeS),
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
  attempt(options.crlFile ?? options.certFile, 'cannot be used', () => createSecureContext(context))
  return { context, requirePeer, peerNames, sessionLifetimeS: lifetimeS(sessionLifetimeS) }
}

/** Common name of a peer's certificate; undefined when it showed none. */
export function commonName(certificate: PeerCertificate): string | undefined {
  const name: unknown = certificate.subject?.CN
  return typeof name === 'string' ? name : undefined
}

/** Why a peer's certificate does not do, or undefined. */
export function nameProblem(certificate: PeerCertificate, allowed: readonly string[] | undefined): string | undefined {
  if (allowed === undefined) return undefined
  const dnsNames = (certificate.subjectaltname ?? '').split(', ').map((entry) => entry.replace(/^DNS:/, ''))
  const names = [commonName(certificate) ?? '', ...dnsNames]
  if (names.some((name) => allowed.includes(name))) return undefined
  return `the peer is '${commonName(certificate) ?? ''}', expected ${allowed.join(' or ')}`
}

function lifetimeS(wantedS: number = DEFAULT_SESSION_LIFETIME_S): number {
  if (Number.isInteger(wantedS) && wantedS >= 1 && wantedS <= MAX_SESSION_LIFETIME_S) return wantedS
  throw new TcpError(`sessionLifetimeS: found ${wantedS}, expected 1..${MAX_SESSION_LIFETIME_S}`)
}

function certificateOf(file: string, pem: string): X509Certificate {
  return attempt(file, 'holds no certificate in PEM', () => new X509Certificate(pem))
}

function read(file: string): string {
  return attempt(file, 'cannot be read', () => readFileSync(file, 'utf8'))
}

/** The message names no octet of the file: it may be a key. */
function attempt<T>(file: string, problem: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? ` (${error.code})` : ''
    throw new TcpError(`${file}: ${problem}${code}`, { cause: error })
  }
}
