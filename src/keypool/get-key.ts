import { status as grpcStatus } from '@grpc/grpc-js'
import { type CallStatus, CLOSING, NO_BLOCKS, NO_KEY, statusOf, TOO_MANY_CALLS } from './call-status.ts'
import type { GetKeyReply, GetKeyRequest } from './messages.ts'
import { MAX_WANT_SLOTS } from './pool-options.ts'
import type { KeyServerInput, Want } from './server-contract.ts'
import type { KeyServerNode } from './server-node.ts'
import { type Waiting, WaitingCalls } from './waiting-calls.ts'

/** The longest a question waits whatever its deadline, ms. */
const MAX_WAIT_MS = 30_000
/** Questions a node may have waiting. */
const MAX_WAITING_PER_CLIENT = 256
/** Questions answered in one go, at most: timers and other calls have their turn between. */
const MAX_BATCH = 16

/** One question for key, and what is called once with its answer. */
export type Question = {
  readonly client: string
  /** The call or stream that it came by: see `leave`. */
  readonly owner: object
  readonly request: GetKeyRequest
  /** How long it may wait for the first slot, ms. */
  readonly waitMs: number
  /** `isNew`: more of the stream was assigned than when it was asked; else all that was asked for was there already. */
  readonly grant: (reply: GetKeyReply, isNew: boolean) => void
  readonly refuse: (status: CallStatus) => void
}

export type GetKeyDeskOptions = {
  readonly node: KeyServerNode
  readonly nowMs: () => number
  /** Hands the node an input; when it returns, the node has taken it, unless `isClosed`. */
  readonly feed: (input: KeyServerInput) => void
  readonly isClosed: () => boolean
  /** The process that has the client's Blocks stream open. */
  readonly instanceOf: (client: string) => string | undefined
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

/** Where key is asked for, by a call each or on a stream: the same rules, refusals and bounds. */
export class GetKeyDesk {
  readonly #options: GetKeyDeskOptions
  readonly #waiting = new WaitingCalls()
  /** Questions, each about another channel, that are taken once all that has come is read. */
  readonly #batch = new Map<number, Question>()
  #taking: NodeJS.Immediate | undefined

  constructor(options: GetKeyDeskOptions) {
    this.#options = options
  }

  /**
   * Takes a question with all others that have come by then, whoever asks: one step of the node, and one entry of the journal,
   * serves them all.
   */
  askSoon(question: Question): void {
    const { channel } = question.request
    if (this.#batch.has(channel)) this.#takeBatch(Number.POSITIVE_INFINITY)
    this.#batch.set(channel, question)
    this.#taking ??= setImmediate(() => this.#takeBatch(MAX_BATCH))
  }

  /** Takes questions, each about another channel. What can be answered now is when this returns; the rest waits. */
  ask(questions: readonly Question[]): void {
    const { feed, isClosed, nowMs, instanceOf } = this.#options
    const wants: Want[] = []
    const asked: { question: Question; fromSlot: number; goal: number; waitMs: number }[] = []
    const askedBy = new Map<string, number>()
    for (const question of questions) {
      const { client, request } = question
      const { channel, slots, upToSlot, topUpToSlot = 0, quota = '' } = request
      const stream = this.#options.node.stream(channel)
      // Without an absolute goal, a question means slots that nobody has asked for yet.
      const fromSlot = (upToSlot === undefined ? stream?.wantedSlots : stream?.assignedSlots) ?? 0
      const goal = upToSlot ?? fromSlot + slots
      const refusal = this.#refusal(client, request, goal, askedBy.get(client) ?? 0)
      if (refusal !== undefined) {
        question.refuse(refusal)
        continue
      }
      const waitMs = Math.min(MAX_WAIT_MS, Math.max(0, question.waitMs))
      // Without a stream of blocks nobody is there to get what comes later.
      const want: Mutable<Want> = { client, channel, upToSlot: goal, topUpToSlot }
      if (quota !== '') want.quota = quota
      if (instanceOf(client) === undefined) want.deadlineMs = nowMs() + waitMs
      wants.push(want)
      asked.push({ question, fromSlot, goal, waitMs })
      askedBy.set(client, (askedBy.get(client) ?? 0) + 1)
    }
    if (wants.length > 0) feed({ kind: 'wants', wants })
    for (const { question, fromSlot, goal, waitMs } of asked) {
      const { client, request } = question
      if (isClosed()) question.refuse(CLOSING)
      else if (goal <= fromSlot || this.#assignedSlots(request.channel) > fromSlot)
        this.#answer(question, fromSlot, goal)
      else {
        const entry: Waiting = {
          ...{ client, channel: request.channel, fromSlot, owner: question.owner },
          answer: () => this.#answer(question, fromSlot, goal),
          timer: setTimeout(() => this.#waiting.drop(entry) && question.refuse(NO_KEY), waitMs),
        }
        this.#waiting.add(entry)
      }
    }
  }

  /** The asker is gone: nothing that it has asked waits any more. */
  leave(owner: object): void {
    for (const [channel, question] of this.#batch) if (question.owner === owner) this.#batch.delete(channel)
    this.#waiting.dropOf(owner)
  }

  /** Answers what has waited for slots that are there now. */
  settle(): void {
    this.#waiting.answer((channel) => this.#assignedSlots(channel))
  }

  clear(): void {
    clearImmediate(this.#taking)
    this.#batch.clear()
    this.#waiting.clear()
  }

  #takeBatch(atMost: number): void {
    clearImmediate(this.#taking)
    const batch: Question[] = []
    for (const [channel, question] of this.#batch) {
      if (batch.length >= atMost) break
      this.#batch.delete(channel)
      batch.push(question)
    }
    this.#taking = this.#batch.size > 0 ? setImmediate(() => this.#takeBatch(MAX_BATCH)) : undefined
    if (batch.length > 0) this.ask(batch)
  }

  #answer({ client, request, grant }: Question, fromSlot: number, goal: number): void {
    const { channel, instance = '' } = request
    // A process that has a stream of blocks gets them there.
    const given = instance === '' ? this.#options.node.give(client, channel, fromSlot) : []
    const assignedSlots = this.#assignedSlots(channel)
    grant({ blocks: given.filter((block) => block.slot < goal), assignedSlots }, assignedSlots > fromSlot)
  }

  #refusal(client: string, request: GetKeyRequest, goal: number, alreadyAsked: number): CallStatus | undefined {
    const { channel, slots, upToSlot, instance = '', quota = '' } = request
    const { node, instanceOf } = this.#options
    if (instance !== '' && instanceOf(client) !== instance) return NO_BLOCKS
    const reason = node.refusal(client, channel, goal, quota === '' ? undefined : quota)
    if (reason !== undefined) return statusOf(reason)
    if (upToSlot === undefined && (slots < 1 || slots > MAX_WANT_SLOTS)) {
      return { code: grpcStatus.INVALID_ARGUMENT, details: `slots ${slots} is not in 1..${MAX_WANT_SLOTS}` }
    }
    return this.#waiting.countOf(client) + alreadyAsked < MAX_WAITING_PER_CLIENT ? undefined : TOO_MANY_CALLS
  }

  #assignedSlots(channel: number): number {
    return this.#options.node.stream(channel)?.assignedSlots ?? 0
  }
}
