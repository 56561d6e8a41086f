/** Who may ask what: loopback names only, no foreign origin, and a token for everything that changes something. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

export type Refusal = { readonly status: 401 | 403; readonly found: string; readonly expected: string }

const SAFE_METHODS = ['GET', 'HEAD']
/** A page elsewhere whose name was made to point here (DNS rebinding) comes with its own name. */
const LOOPBACK_HOST = /^(?:localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(?::\d{1,5})?$/i

/** A token for one run. */
export function newToken(): string {
  return randomBytes(24).toString('base64url')
}

/** Why a request is refused, or undefined if it may go on. `token` undefined: nothing may be changed at all. */
export function refusalOf(
  { method, headers }: { readonly method: string; readonly headers: IncomingHttpHeaders },
  token: string | undefined,
): Refusal | undefined {
  const host = headers.host ?? ''
  if (!LOOPBACK_HOST.test(host)) {
    return {
      status: 403,
      found: `host ${host.slice(0, 80)}`,
      expected: 'a loopback name: this page is served to this machine only',
    }
  }
  const { origin } = headers
  if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`) {
    return { status: 403, found: `origin ${origin.slice(0, 80)}`, expected: `http://${host}` }
  }
  if (isFromElsewhere(method, headers)) {
    return { status: 403, found: 'a request from another site', expected: 'one from this page' }
  }
  if (SAFE_METHODS.includes(method)) return undefined
  const given = /^Bearer ([\w-]{1,128})$/.exec(headers.authorization ?? '')?.[1]
  if (token !== undefined && given !== undefined && isSame(given, token)) return undefined
  const found = given === undefined ? 'no token' : 'another token'
  return { status: 401, found, expected: 'Authorization: Bearer and the token that the run printed' }
}

/** A link on another site may lead here, but nothing there may load, embed or send. */
function isFromElsewhere(method: string, headers: IncomingHttpHeaders): boolean {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none') return false
  return !(method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document')
}

/** In constant time, whatever the lengths. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

/** Headers of every answer. The page loads nothing from elsewhere and cannot be framed. */
export const ANSWER_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
}
