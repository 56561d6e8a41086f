import type { Deliver } from './notifier.ts'

const TIMEOUT_MS = 10_000

/** Something the environment asks for that cannot be done. */
export class AlertSetupError extends Error {
  override readonly name = 'AlertSetupError'
}

/** Where alerts go, by name. The names of the variables are in docs/metrics.md. */
export type Receivers = ReadonlyMap<'Slack' | 'e-mail', Deliver>

/**
 * Receivers as the environment names them: secrets are read from there and nowhere else, and are in no message.
 *
 * @throws AlertSetupError naming the variable, what is wrong with it and what was expected
 */
export function receiversOf(env: Readonly<Record<string, string | undefined>>): Receivers {
  const receivers = new Map<'Slack' | 'e-mail', Deliver>()
  const webhook = env['Q104_SLACK_WEBHOOK_URL']
  if (webhook) receivers.set('Slack', slack(urlOf('Q104_SLACK_WEBHOOK_URL', webhook, ['https:', 'http:'])))
  const smtp = env['Q104_SMTP_URL']
  const to = env['Q104_ALERT_TO']
  if (smtp && !to) throw new AlertSetupError('Q104_SMTP_URL is set and Q104_ALERT_TO is not: expected an address')
  if (to && !smtp) throw new AlertSetupError('Q104_ALERT_TO is set and Q104_SMTP_URL is not: expected smtp://HOST:PORT')
  if (smtp && to) {
    const url = urlOf('Q104_SMTP_URL', smtp, ['smtp:', 'smtps:'])
    receivers.set('e-mail', email(url, to, env['Q104_ALERT_FROM'] ?? 'q104@localhost'))
  }
  return receivers
}

/** A Slack incoming webhook: POST of `{"text": ...}`. */
function slack(url: string): Deliver {
  return async (subject, text) => {
    let response: Response
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ text: `*${subject}*\n${text}` }),
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      await response.arrayBuffer()
    } catch {
      // The error may hold the URL, and the URL is the secret.
      throw new Error('the Slack webhook cannot be reached')
    }
    if (!response.ok) throw new Error(`the Slack webhook answered ${response.status}`)
  }
}

function email(url: string, to: string, from: string): Deliver {
  return async (subject, text) => {
    const { createTransport } = await import('nodemailer')
    const limits = `connectionTimeout=${TIMEOUT_MS}&socketTimeout=${TIMEOUT_MS}`
    const transport = createTransport(`${url}${url.includes('?') ? '&' : '?'}${limits}`)
    try {
      await transport.sendMail({ from, to, subject, text })
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'no answer'
      throw new Error(`the mail server did not take the message (${code})`)
    } finally {
      transport.close()
    }
  }
}

function urlOf(variable: string, text: string, protocols: readonly string[]): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !protocols.includes(url.protocol))
    throw new AlertSetupError(
      `${variable} is not a URL that starts with ${protocols.map((p) => `${p}//`).join(' or ')}`,
    )
  return text
}
