/** The web page and the REST interface of a lab, live or in replay, on a loopback address. */
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { HistoryColumns, LabHead, LabState } from '../../dashboard/index.ts'
import { ControlBody, problem, problemsOf } from './bodies.ts'
import type { ChainDesk } from './chain-desk.ts'
import { ANSWER_HEADERS, refusalOf } from './guards.ts'
import { openApiOf } from './openapi.ts'
import { pageFiles } from './page-files.ts'
import { StateStream } from './state-stream.ts'

/** What the server shows. */
export type LabSource = {
  readonly head: () => LabHead
  readonly state: () => LabState
  readonly history: () => HistoryColumns
  /** The record of a finished run, which the page replays; absent: live. */
  readonly recording?: () => string
}

/** What the server may change. */
export type LabDesk = {
  readonly chains: ChainDesk
  /** Carries a control out; gives what is wrong with it, or undefined when it has taken effect. */
  readonly control: (control: ControlBody) => Promise<string | undefined>
}

export type ApiOptions = {
  readonly source: LabSource
  readonly version: string
  /** Absent: nothing can be changed. */
  readonly desk?: LabDesk
  readonly token?: string
}

export type ApiServer = {
  readonly port: number
  /** Readers of the stream get the last state, then all connections end. */
  readonly close: () => Promise<void>
}

/** Where to listen: a port on the loopback address, or a socket that listens already. */
export type ListenAt = { readonly host: string; readonly port: number } | { readonly fd: number }

const MAX_BODY_BYTES = 1 << 20
const REQUEST_TIMEOUT_MS = 10_000

/** Starts the server. @throws NodeJS.ErrnoException if the address is taken. */
export async function serveApi(options: ApiOptions, at: ListenAt): Promise<ApiServer> {
  const stream = new StateStream(options.source.state)
  const app = apiOf(options, stream)
  await app.ready()
  await new Promise<void>((resolve, reject) => {
    app.server.once('error', reject)
    app.server.listen(at, resolve)
  })
  const address = app.server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: async () => {
      stream.close()
      app.server.close()
      app.server.closeAllConnections()
      await app.close()
    },
  }
}

/** The server, not listening yet. */
export function apiOf({ source, desk, token, version }: ApiOptions, stream: StateStream): FastifyInstance {
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: 100 },
    // Prototype keys in a body are refused, not dropped.
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
  })
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(ANSWER_HEADERS)
    const refusal = refusalOf({ method: request.method, headers: request.headers }, token)
    if (refusal === undefined) return
    if (refusal.status === 401) reply.header('www-authenticate', 'Bearer')
    return reply.code(refusal.status).send(problem('request', 'refused', refusal.found, refusal.expected))
  })
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    const status = error.statusCode !== undefined && error.statusCode < 500 ? error.statusCode : 500
    // Our own faults are not told to whoever asks.
    const found = status === 500 ? 'a fault of this program' : error.message
    reply.code(status).send(problem('request', 'refused', found, 'a request as in /api/v1/openapi.json'))
  })
  app.setNotFoundHandler((request, reply) => {
    const what = `${request.method} ${request.url}`
    reply.code(404).send(problem('request', 'not there', what, 'a path of /api/v1/openapi.json'))
  })

  for (const [path, { type, text }] of pageFiles()) {
    app.get(path, async (_, reply) => reply.header('cache-control', 'no-cache').type(type).send(text))
  }
  const json = (reply: FastifyReply) => reply.header('cache-control', 'no-store').type('application/json')
  const openApi = openApiOf(version)
  app.get('/api/v1/openapi.json', async (_, reply) => json(reply).send(openApi))
  app.get('/api/v1/head', async (_, reply) => json(reply).send(source.head()))
  app.get('/api/v1/state', async (_, reply) => json(reply).send(source.state()))
  app.get('/api/v1/history', async (_, reply) => json(reply).send(source.history()))
  app.get('/api/v1/recording', async (_, reply) => {
    if (source.recording !== undefined) return json(reply).send(source.recording())
    return reply.code(404).send(problem('request', 'not there', 'a live lab', 'q104 view of a finished run'))
  })
  app.get('/api/v1/stream', async (_, reply) => {
    reply.hijack()
    const { raw } = reply
    const headers = { ...ANSWER_HEADERS, 'content-type': 'text/event-stream', 'cache-control': 'no-store' }
    raw.writeHead(200, headers)
    raw.write('retry: 1000\n\n')
    if (!stream.add(raw)) raw.end('event: full\ndata: {}\n\n')
  })
  if (desk !== undefined) addDesk(app, desk, () => source.state().run.tMs)
  return app
}

function addDesk(app: FastifyInstance, { chains, control }: LabDesk, tMs: () => number): void {
  type WithId = { Params: { id: string } }
  app.get('/api/v1/chains', async () => ({ chains: chains.list() }))
  app.get<WithId>('/api/v1/chains/:id', async ({ params: { id } }, reply) => {
    const found = chains.list().find((chain) => chain.id === id)
    return found ?? reply.code(404).send(noChain(id))
  })
  app.put('/api/v1/chains', async ({ body }, reply) => {
    const result = await chains.replaceAll(body)
    if (result.kind === 'ok') return { chains: chains.list() }
    return reply.code(result.status).send({ problems: result.problems })
  })
  app.put<WithId>('/api/v1/chains/:id', async ({ params: { id }, body }, reply) => {
    const result = await chains.put(id, body)
    if (result.kind === 'ok') return chains.list().find((chain) => chain.id === id)
    return reply.code(result.status).send({ problems: result.problems })
  })
  app.delete<WithId>('/api/v1/chains/:id', async ({ params: { id } }, reply) => {
    const result = await chains.remove(id)
    if (result.kind === 'ok') return reply.code(204).send()
    return reply.code(result.status).send({ problems: result.problems })
  })
  app.post('/api/v1/controls', async ({ body }, reply) => {
    const parsed = ControlBody.safeParse(body)
    if (!parsed.success) return reply.code(400).send({ problems: problemsOf(parsed.error) })
    const wrong = await control(parsed.data)
    if (wrong === undefined) return { done: true, tMs: tMs() }
    return reply.code(409).send(problem('body', wrong, parsed.data.kind, 'a control that this lab can carry out'))
  })
}

function noChain(id: string) {
  return problem('id', 'no such chain', id, 'the id of a chain of GET /api/v1/chains')
}
