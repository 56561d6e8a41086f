/** Resolves when the process is told to end: by Ctrl-C (130) or SIGTERM (0). Gives the exit code. A second one kills. */
export function untilSignal(): Promise<number> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve(130))
    process.once('SIGTERM', () => resolve(0))
  })
}

/** One line for people (`12:00:01.250 near.open connection=0`) or, with `json`, one JSON object, on stdout. */
export function logLine(fields: Readonly<Record<string, unknown>>, json: boolean): void {
  const now = new Date()
  if (json) {
    process.stdout.write(`${JSON.stringify({ time: now.toISOString(), ...fields })}\n`)
    return
  }
  const { name, ...rest } = fields
  const text = Object.entries(rest).map(
    ([key, value]) => `${key}=${/[\s=]/.test(String(value)) ? JSON.stringify(value) : String(value)}`,
  )
  process.stdout.write(`${now.toISOString().slice(11, 23)} ${[String(name), ...text].join(' ')}\n`)
}
