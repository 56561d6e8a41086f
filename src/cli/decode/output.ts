import { type Asdu, typeIdOf } from '../../protocol/index.ts'
import { causeText, objectData, objectText } from '../client/describe.ts'
import { centrePartOf, centrePartText } from './centre-message.ts'
import type { Content, DecodedFrame } from './decoder.ts'
import type { FrameFields } from './frame-fields.ts'

const SUITE_TEXTS = { otp: 'OTP', aes: 'AES', auth: 'Auth' } as const
const COMMANDS = ['HANDSHAKE', 'LOAD', 'LOAD-REQUEST', 'STORE', 'DATA'] as const

/** A frame as plain data: one JSON line. Fields that a frame has not are absent. */
export function frameData({ frame, fields, fault, opened, content }: DecodedFrame): object {
  const { number, timestampNs, interfaceName, source, destination, payloadBytes } = frame
  const where = { frame: number, time: isoNs(timestampNs), interface: interfaceName, source, destination }
  const { msgId, eSlot, aSlot, slots, keyGapSlots, reusesKey, tag, noKey, epochMsgId, sequence, repeats } = opened ?? {}
  const suite = fields?.header?.suite
  return {
    ...where,
    bytes: payloadBytes,
    ...(fields && headerData(fields)),
    ...(msgId !== undefined && { msgId }),
    fault,
    ...(opened && {
      eSlot: suite === 'auth' ? undefined : eSlot,
      aSlot: suite === 'aes' ? undefined : aSlot,
      ...{ slots, keyGapSlots, reusesKey, tag, noKey, epochMsgId, sequence, repeats },
    }),
    ...(content && contentData(content)),
  }
}

function headerData(fields: FrameFields): object {
  const { lengthField, msgIdField, flags, commandField, channel, eKeyId, aKeyId, header } = fields
  const bit = (mask: number): boolean => (flags & mask) !== 0
  return {
    length: lengthField,
    msgId: msgIdField,
    flags: { octet: flags, version: flags >> 5, reserved: bit(16), s: bit(8), z: bit(4), a: bit(2), e: bit(1) },
    suite: header?.suite,
    command: COMMANDS[commandField] ?? commandField,
    channel,
    link: channel >> 1,
    direction: channel & 1,
    eKeyId,
    aKeyId,
  }
}

function contentData(content: Content): object {
  if (content.kind === 'handshake') return { handshake: content.handshake }
  if (content.kind === 'malformed') return { malformed: content.why }
  const { apdu, asdu } = content
  const told = apdu.format === 'I' ? { format: 'I', sendSeq: apdu.sendSeq, recvSeq: apdu.recvSeq } : apdu
  if (asdu === undefined || apdu.format !== 'I') return { apdu: told }
  const centre = centrePartOf(apdu.asdu)
  if (centre !== undefined) return { apdu: { ...told, centre } }
  if ('code' in asdu) return { apdu: { ...told, octets: Buffer.from(apdu.asdu).toString('hex'), fault: asdu } }
  const { type, cot, negative, test, oa, ca, sq, objects } = asdu
  const header = { type, typeId: typeIdOf(type), cot, cause: causeText(asdu), negative, test, oa, ca, sq }
  const values = objects.map(({ ioa, value }) => {
    const { value: text, quality } = objectText(value)
    return { ioa, text, quality, elements: objectData(value) }
  })
  return { apdu: { ...told, asdu: { ...header, objects: values } } }
}

/** A frame as a line for people; an ASDU of more than one object takes a line an object. */
export function frameLines({ frame, fields, fault, opened, content }: DecodedFrame): string[] {
  const { number, timestampNs, interfaceName, source, destination } = frame
  const way = interfaceName === '' ? `${source} > ${destination}` : interfaceName
  const arrow = fields === undefined ? ' ' : (fields.channel & 1) === 0 ? '>' : '<'
  const head = `${String(number).padStart(6)} ${isoNs(timestampNs).slice(11, 26)} ${way} ${arrow}`
  if (opened === undefined || fields?.header === undefined) {
    return [`${head} ${fault === 'cut' ? 'captured in part only' : `refused: ${fault}`}`]
  }
  const { suite, command } = fields.header
  const name = command === 'data' ? SUITE_TEXTS[suite] : (COMMANDS[fields.commandField] ?? command)
  const withoutContent = opened.text === undefined ? 'not in the clear' : `${opened.text.length} octets`
  const texts = content === undefined ? [withoutContent] : contentTexts(content)
  const [first = '', ...more] = texts
  const words = [`${name} ${opened.msgId}`.padEnd(9), opened.tag, ...remarks(opened), first]
  const indent = ' '.repeat(head.length + 1)
  return [`${head} ${words.join('  ')}`.trimEnd(), ...more.map((text) => `${indent}${text}`.trimEnd())]
}

function remarks(opened: NonNullable<DecodedFrame['opened']>): string[] {
  const { sequence, repeats, keyGapSlots, reusesKey, noKey } = opened
  return [
    ...(sequence === 'new' ? [] : [`[${sequence}${repeats === undefined ? '' : ` of ${repeats}`}]`]),
    ...(keyGapSlots === undefined ? [] : [`[${keyGapSlots} key slots left out]`]),
    ...(reusesKey ? ['[key slots used before]'] : []),
    ...(noKey === 'contradiction' ? ['[key log has two keys for a slot]'] : []),
  ]
}

function contentTexts(content: Content): string[] {
  if (content.kind === 'malformed') return [`malformed: ${content.why}`]
  if (content.kind === 'handshake') {
    const { epoch, answers, name } = content.handshake
    return [`epoch ${epoch}${answers === 0 ? '' : `, answers ${answers}`}${name === '' ? '' : `, from ${name}`}`]
  }
  const { apdu, asdu } = content
  if (apdu.format === 'S') return [`S (${apdu.recvSeq})`]
  if (apdu.format === 'U') return [`U ${apdu.function}`]
  const numbers = `I (${apdu.sendSeq},${apdu.recvSeq})`
  const centre = centrePartOf(apdu.asdu)
  if (centre !== undefined) return [`${numbers}  ${centrePartText(centre)}`]
  if (asdu === undefined || 'code' in asdu) return [`${numbers}  ASDU malformed: ${asdu?.code ?? ''}`]
  return asduTexts(asdu).map((text) => `${numbers}  ${text}`)
}

function asduTexts(asdu: Asdu): string[] {
  return asdu.objects.map(({ ioa, value }) => {
    const { value: text, quality, time } = objectText(value)
    const parts = [`${asdu.type}  CA ${asdu.ca}  IOA ${ioa}`, text, quality.join(' '), causeText(asdu), time ?? '']
    return parts.filter(Boolean).join('  ')
  })
}

/** ISO 8601 with nanoseconds. */
function isoNs(timestampNs: bigint): string {
  const ms = Number(timestampNs / 1_000_000n)
  const belowMs = String(timestampNs % 1_000_000n).padStart(6, '0')
  const isDate = Math.abs(ms) <= 8.64e15
  return isDate ? new Date(ms).toISOString().replace('Z', `${belowMs}Z`) : `${timestampNs} ns`
}
