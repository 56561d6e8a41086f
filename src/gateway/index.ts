/** The gateway: a trusted relay between control centre and stations. */
export type { GatewayConfig } from './config.ts'
export { Gateway } from './gateway.ts'
