/** The lab as the page sees it: live over the server's stream, or a finished run that is played. */
import type { HistoryColumns } from '../history.ts'
import type { LabHead, LabRecord, LabState } from '../state.ts'

/** What the panels are drawn from. */
export type Picture = { readonly head: LabHead; readonly state: LabState; readonly history: HistoryColumns }

export type Connection = 'connecting' | 'live' | 'lost' | 'ended' | 'replay'

export type Refused = { readonly status: number; readonly text: string }

const TOKEN_KEY = `q104 token ${location.host || 'file'}`

/** The token of the address this page was opened by, kept for this tab alone. */
export function takeToken(): string | undefined {
  const [, token] = /^#token=([\w-]+)$/.exec(location.hash) ?? []
  if (token !== undefined) {
    sessionStorage.setItem(TOKEN_KEY, token)
    // It shall not stand in the address, where it would be copied along.
    history.replaceState(null, '', location.pathname)
  }
  return sessionStorage.getItem(TOKEN_KEY) ?? undefined
}

export function setToken(token: string | undefined): void {
  if (token === undefined) sessionStorage.removeItem(TOKEN_KEY)
  else sessionStorage.setItem(TOKEN_KEY, token)
}

/** What stands in a page that was made as one file: a finished run. */
export type Embedded = { readonly head: LabHead; readonly records: readonly LabRecord[] }

/** The run that this page was made with: JSON, compressed, in base64; undefined: there is a server. */
export async function embedded(): Promise<Embedded | undefined> {
  const text = document.getElementById('q104-run')?.textContent
  if (text === undefined || text === null) return undefined
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0))
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
  return (await new Response(stream).json()) as Embedded
}

export async function getJson<T>(path: string): Promise<T> {
  const response = await fetch(path, { cache: 'no-store' })
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return (await response.json()) as T
}

/** Sends a control; undefined when it has taken effect. */
export async function sendControl(control: Readonly<Record<string, unknown>>): Promise<Refused | undefined> {
  const token = sessionStorage.getItem(TOKEN_KEY) ?? ''
  try {
    const response = await fetch('/api/v1/controls', {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(control),
    })
    if (response.ok) return undefined
    const { problems } = (await response.json()) as {
      problems: readonly { message: string; found: string; expected: string }[]
    }
    const text = problems.map(({ message, found, expected }) => `${message}: ${found}; expected ${expected}`).join('. ')
    return { status: response.status, text }
  } catch {
    return { status: 0, text: 'the lab cannot be reached' }
  }
}

export type LiveOptions = {
  readonly onChange: (changed: readonly (keyof LabState)[]) => void
  readonly onConnection: (connection: Connection) => void
}

const RETRY_MS = 1_000
const MAX_RETRY_MS = 5_000

/** Follows a lab over the stream, and connects again by itself when it is lost. */
export class LiveLab {
  readonly #options: LiveOptions
  #parts: Partial<LabState> = {}
  #retryMs = RETRY_MS
  #source: EventSource | undefined

  constructor(options: LiveOptions) {
    this.#options = options
    this.#connect()
  }

  /** The state, when all its parts have come. */
  get state(): LabState | undefined {
    return 'run' in this.#parts && 'events' in this.#parts ? (this.#parts as LabState) : undefined
  }

  #connect(): void {
    const source = new EventSource('/api/v1/stream')
    this.#source = source
    source.addEventListener('open', () => {
      this.#retryMs = RETRY_MS
      this.#options.onConnection('live')
    })
    source.addEventListener('state', ({ data }) => {
      const parts = JSON.parse(String(data)) as Partial<LabState>
      this.#parts = { ...this.#parts, ...parts }
      if (parts.run?.phase === 'ended') this.#options.onConnection('ended')
      this.#options.onChange(Object.keys(parts) as (keyof LabState)[])
    })
    source.addEventListener('error', () => this.#lost())
  }

  #lost(): void {
    this.#source?.close()
    const hasEnded = this.#parts.run?.phase === 'ended'
    this.#options.onConnection(hasEnded ? 'ended' : 'lost')
    setTimeout(() => this.#connect(), this.#retryMs)
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 1.5)
  }
}
