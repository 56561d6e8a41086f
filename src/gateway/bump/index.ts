/** The bump in the wire: a pair of gateways between a master and an outstation of anybody's make. */
export { BumpGateway } from './bump-gateway.ts'
export { type BumpConfig, type BumpEffect, type BumpInput, NEAR_DEFAULTS, WINDOW_ASDUS } from './config.ts'
export { CONTROL_TYPE, encodeState, type NearState, parseControl, type TwinState } from './control.ts'
