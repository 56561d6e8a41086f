import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PcapngFile, type PcapngSection, parseRecords, type RecordedEvent, readPcapng } from '../../runtime/index.ts'

/** What a run leaves: `runs/<name>-<seed>/`. While it runs, each process writes its part below `parts/`. */
export class RunFolder {
  readonly path: string
  readonly parts: string
  /** The nodes' ledgers: what `q104 audit` holds against the capture. */
  readonly ledgers: string

  /** Makes the folder; what an earlier run of the same name left in it is replaced. */
  constructor(path: string) {
    this.path = path
    this.parts = join(path, 'parts')
    this.ledgers = join(path, 'ledgers')
    for (const name of [
      'events.jsonl',
      'links.json',
      'metrics.json',
      'report.html',
      'report.txt',
      'capture.pcapng',
      'keys.log',
      'scenario.yaml',
      'prometheus.yml',
      'rules.yml',
    ]) {
      rmSync(this.file(name), { force: true })
    }
    for (const folder of [this.parts, this.ledgers]) rmSync(folder, { recursive: true, force: true })
    mkdirSync(this.parts, { recursive: true })
    mkdirSync(this.ledgers, { mode: 0o700 })
  }

  file(name: string): string {
    return join(this.path, name)
  }

  eventsFile(id: string): string {
    return join(this.parts, `${id}.jsonl`)
  }

  ledgerFile(id: string): string {
    return join(this.ledgers, `${id}.ledger`)
  }

  /** The key server's journal. */
  journalFile(id: string): string {
    return join(this.ledgers, `${id}.journal`)
  }

  wireFile(id: string): string {
    return join(this.parts, `${id}.pcapng`)
  }

  write(name: string, text: string): void {
    writeFileSync(this.file(name), text)
  }

  /** Puts the events of all processes in order of time into `events.jsonl`, and gives them. */
  mergeEvents(): readonly RecordedEvent[] {
    const files = readdirSync(this.parts).filter((name) => name.endsWith('.jsonl'))
    const records = files.flatMap((name) => parseRecords(readFileSync(join(this.parts, name), 'utf8')))
    records.sort((a, b) => a.tMs - b.tMs)
    this.write('events.jsonl', records.map((record) => `${JSON.stringify(record)}\n`).join(''))
    return records
  }

  /** Puts the datagrams that the processes recorded themselves into one capture, an interface a link. Gives their count. */
  mergeWires(linkName: (link: number) => string, section: PcapngSection): number {
    const files = readdirSync(this.parts).filter((name) => name.endsWith('.pcapng'))
    const frames = files.flatMap((name) => {
      const { interfaces, frames } = readPcapng(readFileSync(join(this.parts, name)))
      return frames.map((frame) => ({ ...frame, link: Number(interfaces[frame.interfaceId]?.name) }))
    })
    frames.sort((a, b) => Number(a.timestampNs - b.timestampNs))
    const merged = new PcapngFile(this.file('capture.pcapng'), section)
    const interfaceOf = new Map<number, number>()
    for (const { link, timestampNs, bytes } of frames) {
      let interfaceId = interfaceOf.get(link)
      if (interfaceId === undefined) {
        interfaceId = merged.writer.addInterface({ name: linkName(link) })
        interfaceOf.set(link, interfaceId)
      }
      merged.writer.frame({ interfaceId, timestampNs, bytes })
    }
    merged.flush()
    return frames.length
  }

  /** The parts have been merged and are no longer needed. */
  removeParts(): void {
    rmSync(this.parts, { recursive: true, force: true })
  }
}
