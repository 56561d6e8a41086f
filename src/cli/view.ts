import { readRun, sourceOfRun } from './api/finished-run.ts'
import { PAGE_HOST, PAGE_PORT, servedAt } from './api/run-page.ts'
import type { Command } from './main.ts'
import { onePositional, parseOptions, parsePort } from './options.ts'
import { untilSignal } from './process/until-signal.ts'

const OPTIONS = { port: { type: 'string' } } as const

export const command: Command = {
  summary: 'replay a finished run on the web page',
  help: `
usage: q104 view RUN [--port N]

Serves the web page of a finished run from its folder, to be played at any speed and wound to any moment. Ends by Ctrl-C.
report.html in the folder is the same page in one file.

  --port N   port on 127.0.0.1 (default ${PAGE_PORT}, or any free one if that is taken)

Example: ./q104 view runs/tiny-7`,
  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const folder = onePositional(positionals, 'RUN')
    const asked = values.port !== undefined
    const port = values.port === undefined ? PAGE_PORT : parsePort(values.port, '--port')
    const run = readRun(folder)
    const { serveApi } = await import('./api/api-server.ts')
    const options = { source: sourceOfRun(run), version: run.head.version }
    const server = await servedAt({ kind: 'port', port, asked }, (at) => serveApi(options, at))
    if (run.left > 0) process.stdout.write(`the last ${run.left} records are left out: more than a page holds\n`)
    process.stdout.write(`page: http://${PAGE_HOST}:${server.port}/\n`)
    const code = await untilSignal()
    await server.close()
    return code === 130 ? 0 : code
  },
}
