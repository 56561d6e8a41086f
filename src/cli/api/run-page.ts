/** The page of a run: served from its start to its end, beside the lab. */
import { rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import type { LinkState } from '../../runtime/contract.ts'
import { CliError } from '../errors.ts'
import type { LabRunOptions } from '../lab/lab-run.ts'
import type { ApiServer, ListenAt } from './api-server.ts'
import { LiveLab, type LiveLabOptions } from './live-lab.ts'

export type RunPageOptions = {
  readonly lab: LiveLabOptions
  /** Undefined: the run is recorded, but nothing is served. */
  readonly listen: PagePlace | undefined
  /** Where the token is kept while the run lasts, readable by its owner alone. */
  readonly tokenFile: string
}

/** A port to listen on, `wanted` or, if that is taken and was not asked for, any; or a socket that listens already. */
export type PagePlace =
  | { readonly kind: 'port'; readonly port: number; readonly asked: boolean }
  | { readonly kind: 'socket'; readonly fd: number }

/** Where a page is served when nothing else is said. */
export const PAGE_PORT = 8104
export const PAGE_HOST = '127.0.0.1'

export class RunPage {
  readonly #lab: LiveLab
  readonly #tokenFile: string
  readonly #server: ApiServer | undefined
  /** Where the page is, with the token; undefined when it is not served. */
  readonly url: string | undefined

  private constructor(lab: LiveLab, tokenFile: string, served: { server: ApiServer; token: string } | undefined) {
    this.#lab = lab
    this.#tokenFile = tokenFile
    this.#server = served?.server
    this.url = served && `http://${PAGE_HOST}:${served.server.port}/#token=${served.token}`
  }

  /** @throws CliError if the port that was asked for is taken. */
  static async open({ lab, listen, tokenFile }: RunPageOptions): Promise<RunPage> {
    const live = new LiveLab(lab)
    if (listen === undefined) return new RunPage(live, tokenFile, undefined)
    const [{ newToken }, { serveApi }] = await Promise.all([import('./guards.ts'), import('./api-server.ts')])
    const token = newToken()
    rmSync(tokenFile, { force: true })
    writeFileSync(tokenFile, `${token}\n`, { mode: 0o600, flag: 'wx' })
    const options = { source: live, desk: live, token, version: lab.context.version }
    const serve = (at: ListenAt): Promise<ApiServer> => serveApi(options, at)
    return new RunPage(live, tokenFile, { server: await servedAt(listen, serve), token })
  }

  /** What the run of the processes tells the page. */
  hooks(): Pick<LabRunOptions, 'onGo' | 'onDrain' | 'onStatus' | 'onControlled' | 'onEnded'> {
    return {
      onGo: (nowMs) => this.#lab.begin(nowMs),
      onDrain: () => this.#lab.drain(),
      onStatus: (id, status) => this.#lab.takeStatus(id, status),
      onControlled: (request, problem) => this.#lab.takeAnswer(request, problem),
      onEnded: ({ id, how }) => this.#lab.takeEnd(id, how),
    }
  }

  takeLinkState(state: LinkState): void {
    this.#lab.takeLinkState(state)
  }

  takeRestart(process: string): void {
    void this.#lab.takeRestart(process)
  }

  /** Reads what was written last, shows it, and ends. */
  async close(): Promise<void> {
    await this.#lab.end()
    await this.#server?.close()
    rmSync(this.#tokenFile, { force: true })
  }
}

/** A socket that listens for the page, for another process to serve it on. @throws CliError if the port is taken. */
export function listenForPage(place: Extract<PagePlace, { kind: 'port' }>): Promise<Server> {
  const listen = (at: ListenAt): Promise<Server> =>
    new Promise((resolve, reject) => {
      const server = createServer()
      server.once('error', reject)
      server.listen(at, () => resolve(server))
    })
  return servedAt(place, listen)
}

/** Serves there. @throws CliError if the port that was asked for is taken. */
export async function servedAt<S>(place: PagePlace, serve: (at: ListenAt) => Promise<S>): Promise<S> {
  if (place.kind === 'socket') return serve({ fd: place.fd })
  try {
    return await serve({ host: PAGE_HOST, port: place.port })
  } catch (error) {
    const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
    if (isTaken && place.asked)
      throw new CliError(`--port: ${place.port} is taken on ${PAGE_HOST}; another one, or none for any`)
    if (!isTaken) throw error
    return serve({ host: PAGE_HOST, port: 0 })
  }
}
