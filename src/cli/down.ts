import { checkLabName, clearLeftovers, labHolder } from '../../netns/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { onePositional, parseOptions } from './options.ts'

export const command: Command = {
  summary: 'clear what a killed lab left behind',
  help: `
usage: q104 down LAB

Ends processes and deletes network namespaces that a lab of this name left behind. A lab that is running is left alone.

Example: ./q104 down ieee39`,
  async run(args) {
    const { positionals } = parseOptions(args, {})
    const lab = onePositional(positionals, 'LAB')
    checkLabName(lab)
    const holder = labHolder(lab)
    if (holder !== undefined) throw new CliError(`lab ${lab} is running (process ${holder.pid}); end it first`)
    const { namespaces, killedPids } = await clearLeftovers(lab)
    process.stdout.write(`lab ${lab}: ${namespaces.length} namespaces and ${killedPids.length} processes cleared\n`)
    return 0
  },
}
