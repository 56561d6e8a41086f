import { CliError } from './errors.ts'
import { gatewayHints, type KeyLink, startLocalKeyServer } from './keyserver/serve.ts'
import type { Command } from './main.ts'
import { parseBits, parseListen, parseOptions } from './options.ts'
import { untilSignal } from './process/until-signal.ts'

const OPTIONS = {
  dir: { type: 'string' },
  link: { type: 'string', multiple: true },
  rate: { type: 'string', default: '14kbit' },
  cap: { type: 'string', default: '1Mbit' },
  listen: { type: 'string', default: '127.0.0.1:10443' },
  'first-start': { type: 'boolean', default: false },
} as const

export const command: Command = {
  summary: 'serve keys to gateways from the local random source',
  help: `
usage: q104 keyserver --dir DIR --link N=FIRST,SECOND [--link ...] [options]

Makes an authority and a certificate for every named gateway in DIR (readable by the owner only), and hands key to the two
ends of each link by gRPC over mutual TLS, as a QKD system would: at a rate, and no more than is there.

  --dir DIR                where certificates are kept; made if it is missing
  --link 0=gwa,gwb         link 0 from gateway gwa (end 0) to gateway gwb (end 1); once a link
  --rate 14kbit            key generated on each link, a second (bit, kbit, Mbit)
  --cap 1Mbit              most key kept for each link that nobody has asked for
  --listen 127.0.0.1:10443 address to serve on
  --first-start            begin a journal although DIR has certificates of an earlier start

DIR/keyserver.journal tells how far each stream was handed out (no key), over crashes of process and machine: a restart goes on
after it. One that is missing, damaged or of other links is refused.

Example: ./q104 keyserver --dir keys --link 0=gwa,gwb`,
  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    if (positionals.length > 0) throw new CliError(`found '${positionals.join(' ')}', expected options only`)
    if (values.dir === undefined) throw new CliError('--dir DIR is needed')
    const links = parseLinks(values.link ?? [])
    const settings = {
      dir: values.dir,
      links,
      rateBps: parseBits(values.rate, '--rate'),
      capBits: parseBits(values.cap, '--cap'),
      ...parseListen(values.listen, '--listen'),
      isFirst: values['first-start'],
    }
    const ended = untilSignal()
    const server = await startLocalKeyServer(settings)
    process.stdout.write(`serving keys on ${settings.host}:${server.port}, ${values.rate} a second on each link\n`)
    const { restored } = server
    if (restored !== undefined) {
      const how = restored['exact'] === true ? 'where it ended' : 'after what it may have handed out'
      process.stdout.write(`goes on ${how}; ${String(restored['lostBits'])} bits of the pool were lost with it\n`)
    }
    process.stdout.write(`the gateways' files need:\n${gatewayHints(settings, server.port)}\n`)
    const failure = server.failed.then((error) => {
      throw error
    })
    try {
      return await Promise.race([ended, failure])
    } finally {
      server.close()
    }
  },
}

function parseLinks(texts: readonly string[]): readonly KeyLink[] {
  if (texts.length === 0) throw new CliError('--link N=FIRST,SECOND is needed, such as --link 0=gwa,gwb')
  const links = texts.map((text): KeyLink => {
    const [, number = '', first = '', second = ''] = /^(\d{1,5})=([\w-]+),([\w-]+)$/.exec(text) ?? []
    const link = Number(number)
    if (number === '' || link > 32_767 || first === second) {
      throw new CliError(`--link: found '${text}', expected N=FIRST,SECOND with N in 0..32767, such as 0=gwa,gwb`)
    }
    return { link, ends: [first, second] }
  })
  const numbers = links.map(({ link }) => link)
  const twice = numbers.find((link, index) => numbers.indexOf(link) !== index)
  if (twice !== undefined) throw new CliError(`--link: link ${twice} is given twice`)
  return links
}
