import fc from 'fast-check'
import t from 'tap'
import {
  ChainError,
  type ChainSpec,
  chain,
  chainSetProblems,
  demandBps,
  kappaBits,
  linkBetween,
  parseChain,
  pooledHops,
  topology,
} from '../../src/scheduler/index.ts'

const SPEC: ChainSpec = {
  id: 'shed-16',
  taskType: 'shed',
  priority: 0,
  requiredSuite: 'otp',
  path: ['master', 'gw', 'rtu', 'ied'],
  deadlineMs: 1000,
  ratePerS: 0.1,
  apduBytes: 16,
}

/** A chain's keys with any JSON as their values. */
const SPEC_ANY = Object.fromEntries(
  [...Object.keys(SPEC), 'paths', 'allowedSuites'].map((key) => [key, fc.jsonValue()]),
)

function problems(value: unknown): readonly string[] {
  try {
    parseChain(value)
    return []
  } catch (error) {
    if (error instanceof ChainError) return error.problems
    throw error
  }
}

t.test('a chain has its defaults, one path from the short form, and is frozen throughout', async (t) => {
  const made = chain(SPEC)
  t.same(made.paths, [SPEC.path])
  t.same(made.allowedSuites, ['otp'])
  t.same([made.lossWeight, made.degradeWeight, made.switchWeight], [10, 1, 0.1])
  t.ok([made, made.paths, made.paths[0], made.allowedSuites].every((part) => Object.isFrozen(part)))
})

t.test('a chain made from a chain is the same chain', async (t) => {
  const made = chain({ ...SPEC, allowedSuites: ['aes', 'otp'] })
  t.same(parseChain(JSON.parse(JSON.stringify(made))), made)
})

t.test('a description that is no chain is refused with every problem in it', async (t) => {
  const bad = {
    ...SPEC,
    id: '',
    priority: 1.5,
    requiredSuite: 'rot13',
    allowedSuites: [],
    path: ['master', 'gw', 'master'],
    deadlineMs: 0,
    ratePerS: Number.NaN,
    apduBytes: 300,
    lossWeight: -1,
    colour: 'red',
  }
  t.same(problems(bad), [
    'unknown key colour',
    'id must be 1 to 64 characters',
    "requiredSuite must be 'otp' or 'aes'",
    'priority must be a whole number from 0 to 255',
    "allowedSuites must be a list of 'otp' and 'aes'",
    'path 0 visits a node twice',
    'deadlineMs must be a number from 1 to 3600000',
    'ratePerS must be a number from 0 to 10000',
    'apduBytes must be a whole number from 6 to 255',
    'lossWeight must be a number from 0 to 1000000000',
  ])
  t.throws(() => parseChain(bad), /^BAD_CHAIN/)
})

t.test('the ways to give no path, both forms, or too short a path are refused', async (t) => {
  const { path, ...pathless } = SPEC
  t.same(problems(pathless), ['give either path or paths'])
  t.same(problems({ ...SPEC, paths: [path] }), ['give either path or paths'])
  t.same(problems({ ...pathless, paths: [] }), ['paths must be a list of 1 to 8 paths'])
  t.same(problems({ ...pathless, paths: [['master']] }), ['path 0 must be a list of 2 to 16 node ids'])
})

t.test('a required suite that is not allowed is refused', async (t) => {
  t.same(problems({ ...SPEC, allowedSuites: ['aes'] }), ['allowedSuites must contain the required suite otp'])
})

t.test('property: any JSON gives a chain or a ChainError', async (t) => {
  const property = fc.property(fc.oneof(fc.jsonValue(), fc.record(SPEC_ANY, { requiredKeys: [] })), (value) => {
    problems(value)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500, seed: 1 }))
})

t.test('key cost of a message: pad in whole slots and the key of its tag, or a share of an AES key', async (t) => {
  t.equal(kappaBits('otp', 16, 64), 8 * 16 + 128)
  t.equal(kappaBits('otp', 23, 64), 8 * 24 + 128)
  t.equal(kappaBits('aes', 253, 64), 2)
  t.equal(kappaBits('aes', 253, 1), 128)
})

t.test('a chain takes key on the links of its path that draw on the pool', async (t) => {
  const links = topology([
    { link: 1, ends: ['master', 'gw'], pooled: true },
    { link: 2, ends: ['rtu', 'gw'], pooled: true },
    { link: 3, ends: ['rtu', 'ied'], pooled: false },
  ])
  t.equal(linkBetween(links, 'gw', 'rtu')?.link, 2, 'in either order')
  t.equal(linkBetween(links, 'master', 'rtu'), undefined)
  const made = chain({ ...SPEC, ratePerS: 2 })
  t.equal(pooledHops(made.paths[0] ?? [], links), 2)
  t.equal(demandBps(made, 'otp', 2, 64), 2 * 2 * 256)
  t.same(chainSetProblems([made], links), [])
  const lost = chain({ ...SPEC, path: ['master', 'rtu', 'ied'] })
  t.same(chainSetProblems([made, lost], links), [
    'chain shed-16 is given twice',
    'chain shed-16: no link between master and rtu',
  ])
})
