/** What the REST interface takes and gives, as zod schemas: requests are checked by them, the OpenAPI document is made from them. */
import { z } from 'zod'
import { ChainEntry } from '../../experiment/index.ts'

const linkId = z.string().min(1).max(65).describe('Link id, such as cc-gwA')
const chainId = z.string().min(1).max(32).describe('Chain id, such as agc-30')

/** An order to the running lab. It has taken effect when it is answered with 200. */
export const ControlBody = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('cutLink'),
    link: linkId,
    forS: z.number().positive().max(86_400).optional().describe('Mended by itself after this time; default: by hand'),
  }),
  z.strictObject({ kind: z.literal('restoreLink'), link: linkId }).describe('Ends every cut and break of the link'),
  z.strictObject({
    kind: z.literal('attenuateLink'),
    link: linkId,
    addedDb: z.number().min(0).max(100).describe("Loss on top of the fibre's, dB; 0 takes away what was added"),
  }),
  z.strictObject({ kind: z.literal('disableChain'), chain: chainId }),
  z.strictObject({ kind: z.literal('enableChain'), chain: chainId }),
  z.strictObject({
    kind: z.literal('loadStep'),
    bus: z.int().min(1).max(1_000_000),
    mw: z.number().min(-100_000).max(100_000).describe('Load added, MW; negative takes load away'),
  }),
  z.strictObject({ kind: z.literal('setPolicy'), policy: z.string().min(1).max(32) }),
])
export type ControlBody = z.infer<typeof ControlBody>

export const ControlDone = z.strictObject({
  done: z.literal(true),
  tMs: z.number().describe('Lab time of the answer, ms'),
})

export const Problems = z.strictObject({
  problems: z.array(
    z.strictObject({
      place: z.string().describe('Where in the body'),
      message: z.string(),
      found: z.string(),
      expected: z.string(),
    }),
  ),
})
export type Problems = z.infer<typeof Problems>

export const ChainList = z.strictObject({ chains: z.array(ChainEntry) })
export { ChainEntry }

/** The problems a schema found in a body. */
export function problemsOf({ issues }: z.ZodError): Problems['problems'] {
  return issues.slice(0, 20).map((issue) => ({
    place: issue.path.length === 0 ? 'body' : issue.path.map(String).join('.').slice(0, 200),
    message: issue.code,
    found: issue.code === 'unrecognized_keys' ? issue.keys.join(', ').slice(0, 200) : 'a value that does not fit',
    expected: issue.message.slice(0, 300),
  }))
}

/** One problem, as a list. */
export function problem(place: string, message: string, found: string, expected: string): Problems {
  return { problems: [{ place, message, found: found.slice(0, 200), expected }] }
}
