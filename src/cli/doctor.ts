import { Capture, detectIsolation, hasNetem } from '../../netns/index.ts'
import type { Command } from './main.ts'
import { parseOptions } from './options.ts'
import { findTool } from './tools.ts'

/** Commands a lab uses, what for, and the Debian package that has them. */
const TOOLS = [
  ['redis-server', 'pool state on Redis Pub/Sub', 'redis-server'],
  ['tcpdump', 'captures', 'tcpdump'],
  ['tshark', 'looking at captures', 'tshark'],
  ['ip', 'network namespaces', 'iproute2'],
  ['tc', 'netem', 'iproute2'],
  ['setpriv', 'no process outlives its run', 'util-linux'],
] as const

export const command: Command = {
  summary: 'say what this machine can do, and how to get what is missing',
  help: `
usage: q104 doctor

Says which isolation and impairment a lab has here, and which tools are missing.

Example: ./q104 doctor`,
  async run(args) {
    parseOptions(args, {})
    const { isolation, why } = await detectIsolation()
    const capture = await Capture.available(isolation)
    const lines = [
      `node          ${process.version}`,
      `user          ${process.getuid?.() === 0 ? 'root' : 'not root'}`,
      `isolation     ${isolation}: ${why}`,
      `impairment    ${(await hasNetem()) ? 'netem: the kernel has sch_netem' : 'transport: the kernel has no sch_netem'}`,
      `capture       ${capture.available ? 'yes' : `by the nodes themselves: ${capture.why}`}`,
      ...TOOLS.map(([tool, use, debian]) => {
        const path = findTool(tool)
        return `${tool.padEnd(14)}${path ?? `missing (${use}); get it: apt-get install ${debian}`}`
      }),
    ]
    process.stdout.write(`${lines.join('\n')}\n`)
    return 0
  },
}
