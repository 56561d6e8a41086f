/** The generated part of `docs/iec104-decoders.md`: which decoder follows which type, from the lists of the decoders. */
import { layoutOf, type TypeName } from '../../../src/protocol/iec104/types.ts'
import { type Sent, TYPE_NAMES } from './asdus.ts'
import { type Decoder, type Deviation, deviationsOf, listedCoverage } from './facts.ts'

const SHAPES = { one: 'one object', list: 'SQ 0', sequence: 'SQ 0 and 1' }

export function coverageText(sent: readonly Sent[], decoders: readonly Decoder[]): string {
  const notes = decoders.flatMap(({ name, deviations }) => deviations.map((deviation) => ({ name, deviation })))
  const markOf = (deviation: Deviation): string =>
    String.fromCharCode(97 + notes.findIndex((note) => note.deviation === deviation))
  const cell = (decoder: Decoder, type: TypeName): string =>
    [listedCoverage(decoder, type), ...deviationsOf(decoder, type).map((deviation) => `(${markOf(deviation)})`)].join(
      ' ',
    )
  const columns = decoders.map(({ name, listedVersion }) => `${name} ${listedVersion}x`)
  const rows = TYPE_NAMES.map((type) => {
    const { typeId, shape } = layoutOf(type)
    return [typeId, `\`${type}\``, SHAPES[shape], ...decoders.map((decoder) => cell(decoder, type))]
  })
  const decodedBy = (decoder: Decoder, type: TypeName): boolean => listedCoverage(decoder, type) === 'decoded'
  const count = (types: readonly TypeName[]): string => `${types.length} of ${TYPE_NAMES.length} types`
  const by = decoders.map((decoder) => TYPE_NAMES.filter((type) => decodedBy(decoder, type)))
  const neither = TYPE_NAMES.filter((type) => !decoders.some((decoder) => decodedBy(decoder, type)))
  const objects = sent.reduce((sum, { asdu }) => sum + asdu.objects.length, 0)
  return [
    `Sent: ${sent.length} ASDUs with ${objects} objects. Decoded: ${decoders
      .map(({ name }, i) => `${name} ${count(by[i] ?? [])}`)
      .join(', ')}. Neither decodes: ${neither.map((type) => `\`${type}\``).join(', ') || 'none'}.`,
    '',
    `| | type | sent with | ${columns.join(' | ')} |`,
    `|---|---|---|${columns.map(() => '---|').join('')}`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    ...notes.map(({ name, deviation }) => `- (${markOf(deviation)}) ${name}: ${deviation.what}.`),
  ].join('\n')
}
