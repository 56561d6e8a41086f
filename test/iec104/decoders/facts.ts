/** What a decoder says of an APDU, and how that is held against what was sent. */
import { isDeepStrictEqual } from 'node:util'
import type { Asdu } from '../../../src/protocol/iec104/asdu.ts'
import type { Element } from '../../../src/protocol/iec104/elements.ts'
import type { Cp56Time2a } from '../../../src/protocol/iec104/time.ts'
import { layoutOf, type TypeName } from '../../../src/protocol/iec104/types.ts'
import type { Fields, Sent } from './asdus.ts'

/** Fields by the decoder's own names; flags are 0 and 1. */
export type Facts = { readonly [field: string]: number | string }

/** One APDU as a decoder reads it. */
export type Reading = {
  /** Label of the type; undefined when the decoder has none for it. */
  readonly type: string | undefined
  readonly header: Facts
  /** An address and the elements each. */
  readonly objects: readonly Facts[]
  /** Octets, in hex, that the decoder shows instead of elements. */
  readonly raw: string | undefined
}

/** Where a decoder is known to differ from the standard. */
export type Deviation = {
  readonly types: readonly TypeName[]
  /** What it does; a sentence of the documentation. */
  readonly what: string
  /** The fields that it shows otherwise, given all of an object's. */
  readonly shows: (object: Facts) => Facts
}

/** How far a decoder follows a type. */
export type Coverage = 'decoded' | 'named only' | 'unknown'

/** An independent decoder: what it ought to say, and what is known of it. */
export type Decoder = {
  readonly name: string
  /** Beginning of the version that the list is of. */
  readonly listedVersion: string
  readonly namedOnly: readonly TypeName[]
  readonly unknown: readonly TypeName[]
  readonly deviations: readonly Deviation[]
  readonly header: (sent: Sent) => Facts
  /** The object at an index; its address and elements. */
  readonly object: (asdu: Asdu, index: number) => Facts
  /** Octet of the APDU where that begins which the decoder shows raw. */
  readonly rawFrom: number
}

export function listedCoverage(decoder: Decoder, type: TypeName): Coverage {
  if (decoder.unknown.includes(type)) return 'unknown'
  return decoder.namedOnly.includes(type) ? 'named only' : 'decoded'
}

export function deviationsOf(decoder: Decoder, type: TypeName): readonly Deviation[] {
  return decoder.deviations.filter(({ types }) => types.includes(type))
}

/** The object as the decoder shows it, its deviations included. */
export function shownObject(decoder: Decoder, asdu: Asdu, index: number): Facts {
  const object: Record<string, number | string> = { ...decoder.object(asdu, index) }
  for (const { shows } of deviationsOf(decoder, asdu.type)) Object.assign(object, shows(object))
  return object
}

/** What differs between a reading and what was sent; empty when the decoder agrees in all that it shows. */
export function differences(decoder: Decoder, { asdu, apdu, ...sent }: Sent, reading: Reading): readonly string[] {
  const coverage = listedCoverage(decoder, asdu.type)
  const raw = coverage === 'decoded' ? undefined : Buffer.from(apdu.subarray(decoder.rawFrom)).toString('hex')
  const pairs: [string, unknown, unknown][] = [
    ['type', reading.type, coverage === 'unknown' ? undefined : asdu.type],
    ['header', reading.header, decoder.header({ asdu, apdu, ...sent })],
    ['octets shown raw', reading.raw, raw],
  ]
  if (coverage === 'decoded') {
    const objects = asdu.objects.map((_, i) => shownObject(decoder, asdu, i))
    pairs.push(['number of objects', reading.objects.length, objects.length])
    pairs.push(...objects.map((object, i): [string, unknown, unknown] => [`object ${i}`, reading.objects[i], object]))
  }
  return pairs
    .filter(([, shown, wanted]) => !isDeepStrictEqual(shown, wanted))
    .map(([what, shown, wanted]) => `${asdu.type} ${what}: ${JSON.stringify(shown)}, not ${JSON.stringify(wanted)}`)
}

/** What a decoder shows of one element of a type. */
export type ElementFacts = {
  readonly field: string
  readonly element: Element<unknown>
  readonly facts: (value: unknown) => Facts
}

export function shows<T>(field: string, element: Element<T>, facts: (value: T) => Facts): ElementFacts {
  return { field, element, facts: (value) => facts(value as T) }
}

/** Facts of all elements of an object, as far as the decoder knows them. */
export function elementFacts(known: readonly ElementFacts[], asdu: Asdu, index: number): Facts {
  const value = asdu.objects[index]?.value as Fields
  const all = layoutOf(asdu.type).fields.map(({ name, element }) => {
    const entry = known.find((one) => one.field === name && one.element === element)
    return entry?.facts(value[name]) ?? {}
  })
  return Object.assign({}, ...all)
}

/** Flags as 0 and 1. */
export function facts(fields: { readonly [field: string]: number | string | boolean }): Facts {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'boolean' ? Number(value) : value]),
  )
}

/** The bits that all quality descriptors have. */
export type Quality = {
  readonly blocked: boolean
  readonly substituted: boolean
  readonly notTopical: boolean
  readonly invalid: boolean
}

/** The fields of CP56Time2a by the platform's own calendar; a time that holds no date has zeros. */
export function calendar({ wallMs }: Cp56Time2a) {
  const date = new Date(wallMs)
  const isEmpty = wallMs === 0
  return {
    year: isEmpty ? 0 : date.getUTCFullYear() - 2000,
    month: isEmpty ? 0 : date.getUTCMonth() + 1,
    day: isEmpty ? 0 : date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    ms: date.getUTCSeconds() * 1000 + date.getUTCMilliseconds(),
  }
}
