import { status as grpcStatus } from '@grpc/grpc-js'
import type { Refusal } from './server-contract.ts'

/** How a call, or one question on a stream, ends when it is not granted. */
export type CallStatus = { readonly code: grpcStatus; readonly details: string }

export const NO_IDENTITY: CallStatus = { code: grpcStatus.UNAUTHENTICATED, details: 'the certificate names no node' }
export const TOO_MANY_CALLS: CallStatus = { code: grpcStatus.RESOURCE_EXHAUSTED, details: 'too many calls' }
export const NO_KEY: CallStatus = { code: grpcStatus.RESOURCE_EXHAUSTED, details: 'no key before the deadline' }
export const NO_BLOCKS: CallStatus = {
  code: grpcStatus.FAILED_PRECONDITION,
  details: 'no Blocks stream of this instance',
}
export const TOO_SLOW: CallStatus = { code: grpcStatus.RESOURCE_EXHAUSTED, details: 'the reader is too slow' }
export const TAKEN_OVER: CallStatus = {
  code: grpcStatus.ABORTED,
  details: 'another stream of this node took over',
}
export const CLOSING: CallStatus = { code: grpcStatus.UNAVAILABLE, details: 'closing' }

const REFUSAL_CODES: Record<Refusal, grpcStatus> = {
  unknownLink: grpcStatus.NOT_FOUND,
  notEnd: grpcStatus.PERMISSION_DENIED,
  notSender: grpcStatus.PERMISSION_DENIED,
  badSlot: grpcStatus.INVALID_ARGUMENT,
  tooFar: grpcStatus.INVALID_ARGUMENT,
  unknownQuota: grpcStatus.PERMISSION_DENIED,
  peerBehind: grpcStatus.RESOURCE_EXHAUSTED,
  overdue: grpcStatus.RESOURCE_EXHAUSTED,
  aheadOfJournal: grpcStatus.FAILED_PRECONDITION,
}

/** What a node's refusal is over gRPC. */
export function statusOf(reason: Refusal): CallStatus {
  return { code: REFUSAL_CODES[reason], details: reason }
}

/** Ends a stream with a status; what was written before goes out first. */
export function endCall(
  call: { readonly emit: (event: 'error', error: Error) => boolean },
  { code, details }: CallStatus,
): void {
  call.emit('error', Object.assign(new Error(details), { code, details }))
}
