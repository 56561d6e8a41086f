import { scenarioJsonSchema } from '../experiment/index.ts'
import type { Command } from './main.ts'
import { parseOptions } from './options.ts'

export const command: Command = {
  summary: 'print the JSON Schema of a scenario file, for editors',
  help: `
usage: q104 schema

Prints the JSON Schema (draft 2020-12) of a scenario file, for editors with YAML support.

Example: ./q104 schema > q104.schema.json`,
  async run(args) {
    parseOptions(args, {})
    process.stdout.write(`${JSON.stringify(scenarioJsonSchema(), null, 2)}\n`)
    return 0
  },
}
