import { createHash } from 'node:crypto'
import { frameData, frameLines } from '../../src/cli/decode/output.ts'
import { Summary } from '../../src/cli/decode/summary.ts'
import { decodeAll } from './tshark.ts'

/** What a sample capture must be decoded to. */
export type Golden = {
  readonly counts: readonly string[]
  /** Lines of the frames that are not simply the next of their channel, and of commands. */
  readonly story: readonly string[]
  /** SHA-256 of all JSON lines. */
  readonly json: string
}

const STORY = /\[|refused|bad|HANDSHAKE|C_SC_NA_1|C_SE_NC_1.* activation$/

export function goldenOf(pcapng: Uint8Array, keyLog: string): Golden {
  const frames = decodeAll(pcapng, keyLog)
  const summary = new Summary()
  const json = createHash('sha256')
  for (const frame of frames) {
    summary.add(frame)
    json.update(`${JSON.stringify(frameData(frame))}\n`)
  }
  const story = frames.flatMap(frameLines).filter((line) => STORY.test(line))
  return { counts: summary.lines(), story, json: json.digest('hex') }
}
