import type { ControllingStationEffect, OperationResult } from '../../master/index.ts'
import { type Asdu, decodeAsdu, typeIdOf, typeName } from '../../protocol/index.ts'
import { causeText, objectData, objectText, timeText } from './describe.ts'

/** What the client tells of. */
export type ClientNews =
  | { readonly kind: 'link'; readonly state: string; readonly reason?: string }
  | Extract<ControllingStationEffect, { kind: 'data' | 'raw' | 'sent' }>
  /** A step is done. `facts` are told as they are. */
  | {
      readonly kind: 'result'
      readonly label: string
      readonly result:
        | OperationResult
        | { readonly kind: 'done' }
        | { readonly kind: 'failed'; readonly reason: string }
      readonly confirmMs?: number | undefined
      readonly totalMs?: number
      readonly facts?: readonly string[]
    }

/** Lines for people or, as JSON, for programs: one line an object or event. */
export function linesOf(news: ClientNews, json: boolean, wallMs: number): string[] {
  if (json) return dataOf(news).map((facts) => JSON.stringify({ time: new Date(wallMs).toISOString(), ...facts }))
  const clock = new Date(wallMs).toISOString().slice(11, 23)
  return textsOf(news).map((text) => `${clock} ${text}`.trimEnd())
}

function textsOf(news: ClientNews): string[] {
  switch (news.kind) {
    case 'link':
      return [`* ${news.state}${news.reason === undefined ? '' : `: ${news.reason}`}`]
    case 'data':
      return rows('<', news.asdu)
    case 'sent':
      return sentRows(news.octets)
    case 'raw':
      return [`< ${hexOf(news.octets)} (${JSON.stringify(news.fault)})`]
    case 'result':
      return resultTexts(news)
  }
}

/** One line an object. Segments of files are left out: the result tells of the file. */
function rows(direction: '<' | '>', asdu: Asdu): string[] {
  if (asdu.type === 'F_SG_NA_1') return []
  return asdu.objects.map(({ ioa, value }) => {
    const { value: text, quality, hasQuality, time } = objectText(value)
    const words = quality.map((bit) => bit.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`))
    const columns = [
      `${direction} ${asdu.type}`.padEnd(11),
      `CA ${asdu.ca}`.padEnd(6),
      `IOA ${ioa}`.padEnd(9),
      text.padEnd(28),
      (hasQuality ? words.join(', ') || 'good' : '').padEnd(8),
      causeText(asdu).padEnd(23),
      ...(asdu.oa === 0 ? [] : [`OA ${asdu.oa}`]),
      time ?? '',
    ]
    return columns.join('  ').trimEnd()
  })
}

function sentRows(octets: Uint8Array): string[] {
  try {
    return rows('>', decodeAsdu(octets))
  } catch {
    // Octets of `send` may be no ASDU at all.
    return [`> ${hexOf(octets)}`]
  }
}

function resultTexts(news: Extract<ClientNews, { kind: 'result' }>): string[] {
  const { label, result, confirmMs, totalMs, facts = [] } = news
  const isOver = result.kind === 'closed'
  const times = [
    confirmMs === undefined ? '' : `answered after ${ms(confirmMs)}`,
    totalMs === undefined || isOver ? '' : `done after ${ms(totalMs)}`,
  ]
  const head = [`= ${label}: ${resultText(result)}`, ...times.filter(Boolean)].join(', ')
  const entries = result.kind === 'confirmed' ? (result.directory ?? []) : []
  const files = entries.map(({ ioa, nof, sizeBytes, time }) => {
    return `  file ${nof}`.padEnd(14) + `IOA ${ioa}`.padEnd(13) + `${sizeBytes} octets`.padEnd(18) + timeText(time)
  })
  return [head, ...files, ...facts.map((fact) => `  ${fact}`)]
}

function resultText(result: Extract<ClientNews, { kind: 'result' }>['result']): string {
  switch (result.kind) {
    case 'confirmed': {
      const { objectCount, stations, terminated } = result
      const objects = objectCount === 0 ? '' : `, ${objectCount} object${objectCount === 1 ? '' : 's'}`
      const end = terminated === false ? ', without termination' : ''
      return `confirmed${objects}${end}${stations.length > 1 ? `, by CA ${stations.join(', ')}` : ''}`
    }
    case 'refused':
      return `refused by CA ${result.ca}: ${result.reason}`
    case 'timeout':
      return `timed out waiting for the ${result.awaited}${result.objectCount > 0 ? ` after ${result.objectCount} objects` : ''}`
    case 'closed':
      return `not done: ${result.reason}`
    case 'failed':
      return `failed: ${result.reason}`
    case 'done':
      return 'done'
  }
}

function dataOf(news: ClientNews): object[] {
  switch (news.kind) {
    case 'link':
      return [news]
    case 'data':
      return objects('data', news.asdu, news.id)
    case 'sent':
      return sentObjects(news.octets, news.id)
    case 'raw':
      return [{ kind: 'raw', octets: hexOf(news.octets), fault: news.fault }]
    case 'result':
      return [resultData(news)]
  }
}

function objects(kind: 'data' | 'sent', asdu: Asdu, id: number | undefined): object[] {
  if (asdu.type === 'F_SG_NA_1') return []
  const { type, ca, oa, cot, negative, test } = asdu
  const operation = id === undefined ? {} : { operation: id }
  const header = { kind, type, typeId: typeIdOf(type), cot, cause: causeText(asdu), negative, test, oa, ca }
  return asdu.objects.map(({ ioa, value }) => {
    const { value: text, quality } = objectText(value)
    return { ...header, ioa, text, quality, elements: objectData(value), ...operation }
  })
}

function sentObjects(octets: Uint8Array, id: number): object[] {
  try {
    return objects('sent', decodeAsdu(octets), id)
  } catch {
    return [{ kind: 'sent', octets: hexOf(octets), operation: id }]
  }
}

function resultData(news: Extract<ClientNews, { kind: 'result' }>): object {
  const { result, label, confirmMs, totalMs } = news
  const { kind, ...facts } = result
  const { octets, reply, ...told } = 'stations' in facts ? facts : { ...facts, octets: undefined, reply: undefined }
  const size = octets === undefined ? {} : { sizeBytes: octets.length }
  const answer = reply === undefined ? {} : { reply: objects('data', reply, undefined) }
  return { kind: 'result', label, result: kind, ...told, ...size, ...answer, confirmMs, totalMs }
}

/** Octets as hex; the type's label before those of a known type. */
function hexOf(octets: Uint8Array): string {
  const label = typeName(octets[0] ?? 0)
  return `${label === undefined ? '' : `${label} `}${Buffer.from(octets).toString('hex')}`
}

function ms(value: number): string {
  return value < 10
    ? `${value.toFixed(2)} ms`
    : value < 1000
      ? `${value.toFixed(0)} ms`
      : `${(value / 1000).toFixed(2)} s`
}
