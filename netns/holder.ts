import { spawn } from 'node:child_process'
import { LAB_ID } from './clear-lab.ts'
import { LabError } from './errors.ts'
import { USERNS } from './isolation.ts'
import { identify, kill, type ProcessIdentity } from './processes.ts'
import { toolEnv } from './run-tool.ts'

/** A process that does nothing but keep a user namespace with a network and mounts of its own. */
export type Holder = ProcessIdentity & {
  /** Lets it live on without us; until then it ends when we do. */
  stay(): void
  /** Ends it, and the namespaces with it. */
  end(): void
}

/** Prepares the user namespace, says so, and waits for the word; the end of its input means that we are gone. */
const HOLD = `
mount -t tmpfs -o mode=755 tmpfs /run || exit 126
ip link set dev lo up || exit 126
echo ready
read -r word && [ "$word" = stay ] || exit 0
exec sleep infinity </dev/null >/dev/null 2>&1
`
const READY_TIMEOUT_MS = 10_000

/** Starts the holder of a lab's user namespace. @throws LabError if the kernel does not allow it. */
export async function startHolder(lab: string, id: string): Promise<Holder> {
  const [file = '', ...args] = [...USERNS, 'sh', '-c', HOLD, 'q104-holder']
  const child = spawn(file, args, {
    cwd: '/',
    detached: true,
    env: { PATH: toolEnv()['PATH'], Q104_LAB: lab, [LAB_ID]: id },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => {})
  await new Promise<void>((resolve, reject) => {
    let stderr = ''
    const fail = (why: string): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      reject(new LabError(`user namespace of lab ${lab}: ${stderr.trim().split('\n').at(-1) || why}`))
    }
    const timer = setTimeout(() => fail('was not ready in time'), READY_TIMEOUT_MS)
    child.on('error', (error) => fail(error.message))
    child.on('exit', (code, signal) => fail(`ended with ${signal ?? code}`))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.stdout.once('data', () => {
      clearTimeout(timer)
      resolve()
    })
  })
  const holder = identify(child.pid ?? 0)
  if (holder === undefined) throw new LabError(`user namespace of lab ${lab}: its holder has ended`)
  const letGo = (): void => {
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
    child.unref()
  }
  return {
    ...holder,
    stay: () => {
      child.stdin.end('stay\n', letGo)
    },
    end: () => {
      kill(holder.pid)
      letGo()
    },
  }
}
