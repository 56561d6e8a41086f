import { randomBytes } from 'node:crypto'
import type { PlanKeyServer } from '../../experiment/index.ts'
import type { KeyServerInput, KeyServerNode } from '../../keypool/index.ts'
import { drive, type WakeLag } from '../../runtime/index.ts'
import { type LinkModelEffect, type LinkModelInput, LinkModelNode, QkdLink, randomStream } from '../../sim/index.ts'
import type { RoleHost } from './process-main.ts'

/** What makes the key of the links with QKD: their model, or key managers. */
export type KeySource = {
  /** Key that `link` has made and that was told of as `generated`. */
  readonly randomBytes: (n: number, link: number) => Uint8Array
  readonly go: (wallMs: number) => void
  /** No more key. */
  readonly drain: () => void
  /** Bends a link of the model by hand; where key managers make the key there is none. */
  readonly bend?: (input: Extract<LinkModelInput, { kind: 'disturb' | 'mend' }>) => void
  readonly lag: () => WakeLag
  readonly stop: () => Promise<void>
}

/** What a source has to do with. `node` and `feed` are there from `go` on. */
export type KeySourceHost = RoleHost & {
  readonly config: PlanKeyServer
  readonly node: () => KeyServerNode
  readonly feed: (input: KeyServerInput) => void
  readonly record: (event: { readonly name: string; readonly [fact: string]: string | number | boolean }) => void
}

/** The links' model, which says how much key there is; its octets are random. */
export function modelSource({ config, spec, nowMs, tell, feed }: KeySourceHost): KeySource {
  const stopped = new AbortController()
  const isRestart = spec.ledger?.isRestart === true
  const model = new LinkModelNode({
    links: config.qkdLinks.map((options) => new QkdLink(options, randomStream(spec.seed, `qkd ${options.link}`))),
  })
  /** Key made while this key server was not there is nobody's. */
  let makesKey = true
  /** What the links do in one step is one step of the key server's. */
  let told: LinkModelEffect[] = []
  const pass = (): void => {
    const inputs = told
    told = []
    feed({ kind: 'several', inputs })
  }
  const driven = drive(model, {
    nowMs,
    signal: stopped.signal,
    carryOut(effect) {
      if (effect.kind === 'linkState') tell({ kind: 'linkState', state: effect.state })
      if (effect.kind !== 'linkState' && !makesKey) return
      if (told.push(effect) === 1) queueMicrotask(pass)
    },
  })
  return {
    randomBytes: (n) => randomBytes(n),
    go(wallMs) {
      driven.feed({ kind: 'start', wallMs })
      const initial = config.initial.map(({ link, bits }) => ({ kind: 'generated', link, bits }) as const)
      if (!isRestart) feed({ kind: 'several', inputs: initial })
      else {
        makesKey = false
        driven.feed({ kind: 'wake' })
        makesKey = true
      }
    },
    drain: () => driven.feed({ kind: 'drain' }),
    bend: (input) => driven.feed(input),
    lag: () => driven.lag(),
    async stop() {
      stopped.abort()
    },
  }
}
