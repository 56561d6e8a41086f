import { open, readFile } from 'node:fs/promises'
import { PcapngError, readPcapng } from '../runtime/index.ts'
import { Q3pDecoder } from './decode/decoder.ts'
import { KeyBook } from './decode/key-book.ts'
import { LineWriter } from './decode/line-writer.ts'
import { frameData, frameLines } from './decode/output.ts'
import { Summary } from './decode/summary.ts'
import { udpFrames } from './decode/udp-frames.ts'
import { CliError } from './errors.ts'
import { Q3P_PORT } from './lab/launches.ts'
import type { Command } from './main.ts'
import { onePositional, parseCount, parseOptions } from './options.ts'

const OPTIONS = {
  keys: { type: 'string' },
  json: { type: 'boolean', default: false },
  summary: { type: 'boolean', default: false },
  port: { type: 'string' },
} as const

export const command: Command = {
  summary: 'decode a capture of Q3P frames, with a key log all of it',
  help: `
usage: q104 decode FILE.pcapng [options]

Shows each Q3P frame of a capture: header, whether the tag is right, how the frame stands to those before it, and what
it carries. Without a key log the headers only.

  --keys FILE   key log of the run (keys.log)
  --json        JSON lines: one object a frame
  --summary     only the counts: frames by verdict, ASDUs by link, direction and type
  --port N      UDP port of the operational plane (default: ${Q3P_PORT})

The counts go to stderr, or with --summary to stdout. Exit code: 0 done, whatever the frames are; 2 bad input.

Example: ./q104 decode captures/control-loop.pcapng --keys captures/control-loop.keys.log`,
  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const file = onePositional(positionals, 'FILE.pcapng')
    const port = values.port === undefined ? Q3P_PORT : parseCount(values.port, '--port')
    const keys = new KeyBook()
    if (values.keys !== undefined) await readKeyLog(values.keys, keys)
    const capture = await readCapture(file)

    const decoder = new Q3pDecoder(keys)
    const summary = new Summary()
    const out = new LineWriter(process.stdout)
    for (const frame of udpFrames(capture, port)) {
      const decoded = decoder.decode(frame)
      summary.add(decoded)
      if (values.summary) continue
      const lines = values.json ? [JSON.stringify(frameData(decoded))] : frameLines(decoded)
      if (!(await out.write(lines))) return 0
    }
    const counts = [
      ...summary.lines(),
      ...(capture.truncated ? ['The last block of the file is cut off.'] : []),
      ...(keys.badLines === 0 ? [] : [`${keys.badLines} lines of the key log are no records.`]),
    ]
    if (values.summary) await out.write(counts)
    await out.end()
    if (!values.summary) process.stderr.write(`${counts.join('\n')}\n`)
    return 0
  },
}

async function readCapture(file: string): Promise<ReturnType<typeof readPcapng>> {
  try {
    return readPcapng(await readFile(file))
  } catch (error) {
    if (error instanceof PcapngError) throw new CliError(`${file}: ${error.message}`)
    throw asCliError(error, file)
  }
}

async function readKeyLog(file: string, keys: KeyBook): Promise<void> {
  try {
    const handle = await open(file)
    for await (const line of handle.readLines()) keys.take(line)
  } catch (error) {
    throw asCliError(error, file)
  }
}

function asCliError(error: unknown, file: string): unknown {
  const isOfSystem = error instanceof Error && 'code' in error && 'syscall' in error
  return isOfSystem ? new CliError(`${file}: ${error.message}`) : error
}
