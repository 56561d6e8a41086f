import { spawn } from 'node:child_process'

/** What a system tool answered. `code` is 127 if it is not installed, 128 + signal number if a signal ended it. */
export type ToolResult = { readonly code: number; readonly stdout: string; readonly stderr: string }

const MAX_OUTPUT_CHARS = 4_000_000

/** PATH with the system folders, where `ip` and `tc` are and a plain user's PATH often does not lead. */
export function toolEnv(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`, LC_ALL: 'C' }
}

export type ToolOptions = {
  readonly input?: string
  readonly timeoutMs?: number
  /** Added to our own environment. */
  readonly env?: Readonly<Record<string, string>>
}

/** Runs one system tool to its end, killing it after `timeoutMs`. Never rejects: what went wrong is in the result. */
export function runTool(
  command: readonly string[],
  { input = '', timeoutMs = 20_000, env = {} }: ToolOptions = {},
): Promise<ToolResult> {
  const [file = '', ...args] = command
  return new Promise((resolve) => {
    const child = spawn(file, args, { env: { ...toolEnv(), ...env }, timeout: timeoutMs, killSignal: 'SIGKILL' })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < MAX_OUTPUT_CHARS) stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < MAX_OUTPUT_CHARS) stderr += text
    })
    child.on('error', (error) => resolve({ code: 127, stdout, stderr: `${file}: ${error.message}` }))
    child.on('close', (code, signal) => {
      if (signal !== null) stderr += `${file} was ended by ${signal}`
      resolve({ code: code ?? 137, stdout, stderr })
    })
    // A tool that ends before it has read everything closes its pipe; its exit code says why.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

/** Last line that the tool wrote to standard error, for a one-line reason. */
export function lastErrorLine({ stderr, code }: ToolResult): string {
  return stderr.trim().split('\n').at(-1)?.trim() || `exit code ${code}`
}

/** Commands as the input of a tool that reads one a line. */
export function lines(commands: readonly string[]): string {
  return commands.map((command) => `${command}\n`).join('')
}
