import { takeDown } from '../../netns/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { asBadInput } from './netlab/labs.ts'
import { onePositional, parseOptions } from './options.ts'

export const command: Command = {
  summary: 'end a lab that is up, or clear what a killed one left behind',
  help: `
usage: q104 down LAB

Ends the processes of a lab that q104 up made, or that a killed run left behind, and deletes its namespaces. A lab that
q104 run is running is left alone. A lab that is not there is no error.

Example: ./q104 down tiny`,
  async run(args) {
    const { positionals } = parseOptions(args, {})
    const lab = onePositional(positionals, 'LAB')
    if (process.env['Q104_LAB'] === lab) throw new CliError(`this is a process of lab ${lab}: leave it first`)
    const { namespaces, killedPids } = await asBadInput(() => takeDown(lab))
    process.stdout.write(`lab ${lab}: ${namespaces.length} namespaces and ${killedPids.length} processes cleared\n`)
    return 0
  },
}
