import { spawn } from 'node:child_process'
import { accessSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import { PoolPublisher } from '../../src/keypool/index.ts'
import type { PoolStatus } from '../../src/runtime/contract.ts'

const REDIS_SERVER = '/usr/bin/redis-server'

const status: PoolStatus = {
  tMs: 1,
  level: 'normal',
  safeBits: 1,
  thBits: 2,
  capBits: 3,
  books: { generatedBits: 96, usedBits: 32, expiredBits: 0, discardedBits: 0, reservedBits: 32, poolBits: 32 },
  links: [{ link: 0, up: true, rateBps: 1000, delayMs: 1 }],
}

async function until(condition: () => boolean, limitMs = 8000): Promise<boolean> {
  const endMs = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > endMs) return false
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return true
}

/** A Redis of our own on a unix socket, without persistence; ends with the test. */
function startRedis(path: string): { stop: () => Promise<void> } {
  const args = ['--port', '0', '--unixsocket', path, '--save', '', '--appendonly', 'no', '--dir', join(path, '..')]
  const child = spawn(REDIS_SERVER, args, { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  return {
    stop: () => {
      child.kill()
      return ended
    },
  }
}

t.test('pool states reach those who listen and those who come later', async (t) => {
  t.doesNotThrow(() => accessSync(REDIS_SERVER), `${REDIS_SERVER} is installed (Debian package redis-server)`)
  const dir = mkdtempSync(join(tmpdir(), 'q104-redis-'))
  const path = join(dir, 'redis.sock')
  const publisher = new PoolPublisher({ path, lab: 'lab1' })
  let server: { stop: () => Promise<void> } | undefined
  t.teardown(async () => {
    await publisher.close()
    await server?.stop()
    rmSync(dir, { recursive: true })
  })
  publisher.publish(status)
  t.ok(await until(() => publisher.counts().connectionErrors > 0), 'Redis is away')
  t.match(publisher.counts(), { published: 0, skipped: 1 })

  server = startRedis(path)
  t.ok(
    await until(() => {
      publisher.publish({ ...status, tMs: 2 })
      return publisher.counts().published > 0
    }),
    'it is there now',
  )
  const listener = new Redis({ path, disconnectTimeout: 100, retryStrategy: () => null })
  listener.on('error', () => {})
  t.teardown(() => listener.disconnect())
  const heard: string[] = []
  listener.on('message', (channel: string, text: string) => heard.push(`${channel} ${text}`))
  t.same(JSON.parse((await listener.get('q104:lab1:pool:last')) ?? ''), { ...status, tMs: 2 })
  await listener.subscribe('q104:lab1:pool')
  publisher.publish({ ...status, tMs: 3 })
  t.ok(await until(() => heard.length > 0))
  t.equal(heard.at(-1), `q104:lab1:pool ${JSON.stringify({ ...status, tMs: 3 })}`)

  const { published } = publisher.counts()
  await server.stop()
  t.doesNotThrow(() => {
    for (let index = 0; index < 100; index++) publisher.publish(status)
  })
  t.ok(await until(() => publisher.counts().skipped + publisher.counts().failed > 50), 'what is lost is counted')
  server = startRedis(path)
  t.ok(
    await until(() => {
      publisher.publish({ ...status, tMs: 4 })
      return publisher.counts().published > published
    }),
    'it comes back by itself',
  )
})
