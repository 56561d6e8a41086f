import { TcpError } from '../runtime/index.ts'
import { keyLogWarning } from '../runtime/node-files.ts'
import { CliError } from './errors.ts'
import { loadGatewayFile } from './gateway/config-file.ts'
import { startGateway } from './gateway/run-gateway.ts'
import type { Command } from './main.ts'
import { parseOptions } from './options.ts'
import { logLine, untilSignal } from './process/until-signal.ts'

const OPTIONS = {
  config: { type: 'string' },
  'first-start': { type: 'boolean', default: false },
  keylog: { type: 'string' },
  check: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

export const command: Command = {
  summary: 'put a 104 connection under quantum keys: one of a pair of gateways in the wire',
  help: `
usage: q104 gateway --config FILE [--first-start] [--check] [--keylog FILE] [--json]

Near side: plain IEC 60870-5-104 on TCP or TLS, with a master (listen) or an outstation (dial). Far side: Q3P over UDP to
its twin. Neither master nor outstation need to know. docs/gateway.md shows a pair step by step.

  --config FILE   the gateway's YAML file
  --first-start   begin the ledger, which tells later starts what key may have been used; without it there must be one
  --check         only check the file
  --keylog FILE   log all key that is used, in the clear (mode 0600), for Wireshark and q104 decode
  --json          log as JSON, one object a line

Ends on Ctrl-C or SIGTERM, connections and link closed in order. Exit code 2 for bad input.

Example: ./q104 gateway --config gwa.yaml --first-start`,
  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    if (positionals.length > 0) throw new CliError(`found '${positionals.join(' ')}', expected options only`)
    if (values.config === undefined) throw new CliError('--config FILE is needed')
    const settings = await loadGatewayFile(values.config)
    if (values.check) {
      process.stdout.write(`${values.config}: valid\n`)
      return 0
    }
    const ended = untilSignal()
    try {
      const { 'first-start': isFirst, keylog: keyLogFile } = values
      if (keyLogFile !== undefined) process.stderr.write(`${keyLogWarning(keyLogFile)}\n`)
      const gateway = await startGateway(settings, { isFirst, keyLogFile }, (event) => logLine(event, values.json))
      const exitCode = await ended
      await gateway.close()
      return exitCode
    } catch (error) {
      if (error instanceof TcpError) throw new CliError(error.message)
      throw error
    }
  },
}
