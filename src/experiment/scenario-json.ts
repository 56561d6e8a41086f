/** What editors and the page are told of the schema of a scenario. */
import { z } from 'zod'
import { ScenarioSchema } from './scenario-schema.ts'

const CHAINS_FILE = {
  type: 'object',
  properties: { file: { type: 'string', description: 'A .yaml or .ts file of chains, relative to this one' } },
  required: ['file'],
  additionalProperties: false,
}

/** JSON Schema (draft 2020-12) of a scenario file, for editors. */
export function scenarioJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(ScenarioSchema, { io: 'input' }) as Record<string, unknown>
  const { properties } = schema as { properties: { chains: { anyOf: unknown[] } } }
  // A file of chains is read before the schema sees the scenario.
  properties.chains.anyOf.push(CHAINS_FILE)
  return schema
}

/** Names of the policies that a scenario may ask for. */
export function policyNames(): readonly string[] {
  const scheduler = ScenarioSchema.shape.scheduler.unwrap()
  return scheduler.shape.policy.unwrap().options
}
