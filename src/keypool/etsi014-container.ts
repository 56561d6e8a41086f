/**
 * The key container (clause 6.3), `{"keys":[{"key_ID":"...","key":"base64"}]}`, written and read as octets: a string cannot
 * be overwritten, so no key is ever in one.
 */
import { Etsi014Key, isKeyId, isObject, own, type Read } from './etsi014-messages.ts'

const ALPHABET = new TextEncoder().encode('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const PAD = 0x3d
const NO_DIGIT = 255
const DIGITS = new Uint8Array(256).fill(NO_DIGIT)
for (const [digit, code] of ALPHABET.entries()) DIGITS[code] = digit

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a]
/** Tab, line feed, carriage return, space. */
const BLANKS: readonly number[] = [0x09, 0x0a, 0x0d, 0x20]
const KEY_NAME = [0x6b, 0x65, 0x79]

/** Writes a container; the keys stay the caller's to overwrite, and so is the result. */
export function writeKeyContainer(keys: readonly Etsi014Key[]): Uint8Array {
  const ascii = new TextEncoder()
  const parts: Uint8Array[] = []
  for (const [index, { keyId, bytes }] of keys.entries()) {
    const name = JSON.stringify(keyId)
    parts.push(ascii.encode(`${index === 0 ? '{"keys":[' : ','}{"key_ID":${name},"key":"`), toBase64(bytes))
    parts.push(ascii.encode('"}'))
  }
  parts.push(ascii.encode(keys.length === 0 ? '{"keys":[]}' : ']}'))
  const body = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    body.set(part, offset)
    offset += part.length
    part.fill(0)
  }
  return body
}

/**
 * Reads a container and overwrites `body`. Takes `Keys` for `keys` (one table of the standard prints it so) and ignores
 * members it does not know. At most `maxKeys` keys, each with its own key_ID.
 */
export function readKeyContainer(body: Uint8Array, maxKeys: number): Read<readonly Etsi014Key[]> {
  const lifted = liftKeys(body)
  body.fill(0)
  const result: Read<readonly Etsi014Key[]> =
    lifted === undefined ? { kind: 'bad', message: 'the answer is not JSON in UTF-8' } : keysOf(lifted, maxKeys)
  // What no item refers to, or all of it if anything is wrong.
  const kept = new Set(result.kind === 'ok' ? result.value.map((key) => key.bytes) : [])
  for (const secret of lifted?.secrets ?? []) if (secret !== undefined && !kept.has(secret)) secret.fill(0)
  return result
}

type Lifted = { readonly value: unknown; readonly secrets: readonly (Uint8Array | undefined)[] }

function keysOf({ value, secrets }: Lifted, maxKeys: number): Read<readonly Etsi014Key[]> {
  const list = isObject(value) ? (own(value, 'keys') ?? own(value, 'Keys')) : undefined
  if (!Array.isArray(list)) return { kind: 'bad', message: 'the answer has no list keys' }
  if (list.length > maxKeys) return { kind: 'bad', message: `the answer has ${list.length} keys, ${maxKeys} at most` }
  const keys: Etsi014Key[] = []
  const taken = new Set<unknown>()
  for (const [index, item] of list.entries()) {
    const keyId = isObject(item) ? own(item, 'key_ID') : undefined
    const marker = isObject(item) ? own(item, 'key') : undefined
    const bytes = typeof marker === 'string' && !taken.has(marker) ? secrets[Number(marker)] : undefined
    if (!isKeyId(keyId)) return { kind: 'bad', message: `item ${index} of keys has no key_ID` }
    if (bytes === undefined) return { kind: 'bad', message: `item ${index} of keys has no key in base64` }
    if (taken.has(`id ${keyId.toLowerCase()}`)) return { kind: 'bad', message: `item ${index} repeats a key_ID` }
    taken.add(marker).add(`id ${keyId.toLowerCase()}`)
    keys.push(new Etsi014Key(keyId, bytes))
  }
  return { kind: 'ok', value: keys }
}

/** What stands before a string: the name "key", or that and a colon. */
type Before = 'other' | 'name' | 'colon'

/** Parses JSON in which the text after each name "key" is replaced by its index in `secrets` (undefined: not base64). */
function liftKeys(body: Uint8Array): Lifted | undefined {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const secrets: (Uint8Array | undefined)[] = []
  try {
    let text = ''
    let copied = 0
    let before: Before = 'other'
    for (let at = 0; at < body.length; at++) {
      const code = body[at] ?? 0
      if (BLANKS.includes(code)) continue
      if (code !== QUOTE) {
        before = afterSign(before, code)
        continue
      }
      const end = endOfString(body, at + 1)
      const content = body.subarray(at + 1, end)
      if (before === 'colon') {
        text += `${decoder.decode(body.subarray(copied, at + 1))}${secrets.length}`
        copied = end
        secrets.push(fromBase64(content))
        before = 'other'
      } else before = isKeyName(content) ? 'name' : 'other'
      at = end
    }
    text += decoder.decode(body.subarray(copied))
    return { value: JSON.parse(text), secrets }
  } catch {
    for (const secret of secrets) secret?.fill(0)
    return undefined
  }
}

function afterSign(before: Before, code: number): Before {
  return before === 'name' && code === COLON ? 'colon' : 'other'
}

/** Index of the closing quote, or the body's length. */
function endOfString(body: Uint8Array, from: number): number {
  for (let at = from; at < body.length; at++) {
    if (body[at] === QUOTE) return at
    if (body[at] === BACKSLASH) at++
  }
  return body.length
}

function isKeyName(content: Uint8Array): boolean {
  return content.length === KEY_NAME.length && KEY_NAME.every((code, index) => content[index] === code)
}

/** Base64 of RFC 4648, clause 4, as ASCII. */
export function toBase64(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 * Math.ceil(bytes.length / 3)).fill(PAD)
  for (let from = 0, to = 0; from < bytes.length; from += 3) {
    const [first = 0, second = 0, third = 0] = [bytes[from], bytes[from + 1], bytes[from + 2]]
    const digits = [first >> 2, ((first & 3) << 4) | (second >> 4), ((second & 15) << 2) | (third >> 6), third & 63]
    const count = Math.min(4, 1 + bytes.length - from)
    for (let index = 0; index < count; index++) out[to++] = ALPHABET[digits[index] ?? 0] ?? 0
  }
  return out
}

/** Decodes base64 as it stands in JSON, where a writer may escape `/`, `+` and `=`. Undefined if empty or not base64. */
export function fromBase64(content: Uint8Array): Uint8Array | undefined {
  const digits = unescaped(content)
  if (digits === undefined) return undefined
  let length = digits.length
  while (length > digits.length - 2 && digits[length - 1] === PAD) length--
  const out = new Uint8Array(Math.floor((length * 3) / 4))
  let wrong = digits.length % 4 !== 0 || length === 0
  for (let at = 0, bits = 0, to = 0; at < length; at++) {
    const digit = DIGITS[digits[at] ?? 0] ?? NO_DIGIT
    if (digit === NO_DIGIT) wrong = true
    bits = ((bits << 6) | digit) & 0xffffff
    if (at % 4 !== 0) out[to++] = bits >> (6 - 2 * (at % 4))
  }
  digits.fill(0)
  if (!wrong) return out
  out.fill(0)
  return undefined
}

function unescaped(content: Uint8Array): Uint8Array | undefined {
  const out = new Uint8Array(content.length)
  let to = 0
  for (let at = 0; at < content.length; at++) {
    let code = content[at] ?? 0
    if (code === BACKSLASH) {
      const next = content[++at] ?? 0
      const hex = content.subarray(at + 1, at + 5)
      code = next === 0x75 ? Number.parseInt(String.fromCharCode(...hex), 16) : next
      if (next === 0x75) at += 4
      else if (next !== 0x2f) return wiped(out)
      if (!(code < 0x80)) return wiped(out)
    }
    out[to++] = code
  }
  return to === out.length ? out : shortened(out, to)
}

function shortened(bytes: Uint8Array, length: number): Uint8Array {
  const short = bytes.slice(0, length)
  bytes.fill(0)
  return short
}

function wiped(bytes: Uint8Array): undefined {
  bytes.fill(0)
  return undefined
}
