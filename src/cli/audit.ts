import { cryptoReady } from '../protocol/index.ts'
import { auditRun } from './audit/audit-run.ts'
import { auditText } from './audit/audit-text.ts'
import { readRun } from './audit/run-evidence.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { onePositional, parseOptions } from './options.ts'

export const command: Command = {
  summary: 'prove from what a run has left that no key was used twice',
  help: `
usage: q104 audit RUN [--json]

RUN is the folder of a run, or a pcapng capture alone. Reads capture.pcapng and, where they are there, ledgers/*.ledger,
keys.log and events.jsonl, and checks for each channel that no key slot protects two different messages, that no Msg-Id (with
AES: no nonce) is on two, that Msg-Ids and epochs never go back, that nothing was used that the ledger does not have, and
that the books balance. Identical datagrams are retransmissions and in order. With keys.log each tag is checked, so that
forged and damaged datagrams are told from true ones.

Exit code 0: proven; 1: violated, with the numbers of the frames that show it; 2: something is missing or cannot be read.

Example: ./q104 audit runs/tiny-1`,
  async run(args) {
    const { positionals, values } = parseOptions(args, { json: { type: 'boolean', default: false } })
    const path = onePositional(positionals, 'RUN')
    const evidence = readRun(path)
    await cryptoReady
    const audit = auditRun(evidence)
    if (audit.messages === 0) throw new CliError(`${path}: there is no Q3P message in the capture`)
    process.stdout.write(values.json ? `${JSON.stringify(audit, null, 2)}\n` : auditText(path, audit, evidence))
    return audit.verdict === 'proven' ? 0 : 1
  },
}
