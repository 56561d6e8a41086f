import type { GridDone, GridRequest } from '../runtime/contract.ts'

/** Actions a client may have remembered; the oldest answered one is forgotten for a new one. */
const MAX_REMEMBERED = 256

const NOTHING: readonly number[] = []

/** A request that changes the grid and gets a `done`. */
export type GridAction = Exclude<GridRequest, { readonly kind: 'subscribe' }>

/** What is known of an action that comes in: fresh, under way, answered before, or not to be taken. */
export type Known =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'underWay' }
  | { readonly kind: 'answered'; readonly done: GridDone }
  | { readonly kind: 'refused'; readonly reason: string }

type Subscription = { readonly bus: number; readonly periodSteps: number; dueStep: number }

/** One client of the grid node: its subscriptions, and its actions by id, so that a repeated one is done once. */
export class GridClient {
  readonly number: number
  /** Requests and lines refused so far. */
  refusals = 0

  readonly #subscriptions = new Map<number, Subscription>()
  #nextStep = Number.POSITIVE_INFINITY
  readonly #actions = new Map<number, { readonly request: string; done?: GridDone }>()

  constructor(number: number) {
    this.number = number
  }

  /** Samples of `bus` from `step` on, and then at multiples of the period. */
  subscribe(bus: number, periodSteps: number, step: number): void {
    this.#subscriptions.set(bus, { bus, periodSteps, dueStep: step })
    this.#findNext()
  }

  unsubscribeAll(): void {
    this.#subscriptions.clear()
    this.#findNext()
  }

  /** Buses to sample at `step`; samples missed meanwhile are left out. */
  takeDue(step: number): readonly number[] {
    if (step < this.#nextStep) return NOTHING
    const due: number[] = []
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.dueStep > step) continue
      due.push(subscription.bus)
      subscription.dueStep = (Math.floor(step / subscription.periodSteps) + 1) * subscription.periodSteps
    }
    this.#findNext()
    return due
  }

  /** Step of the next sample; Infinity without subscriptions. */
  nextStep(): number {
    return this.#nextStep
  }

  #findNext(): void {
    this.#nextStep = Number.POSITIVE_INFINITY
    for (const { dueStep } of this.#subscriptions.values()) this.#nextStep = Math.min(this.#nextStep, dueStep)
  }

  /** Looks an action up by its id, and remembers it when it is fresh. */
  recall(action: GridAction): Known {
    const request = JSON.stringify(action)
    const earlier = this.#actions.get(action.id)
    if (earlier !== undefined) {
      if (earlier.request !== request)
        return { kind: 'refused', reason: `id ${action.id} was used for another request` }
      return earlier.done === undefined ? { kind: 'underWay' } : { kind: 'answered', done: earlier.done }
    }
    if (this.#actions.size >= MAX_REMEMBERED && !this.#forgetOldest()) {
      return { kind: 'refused', reason: 'too many actions under way' }
    }
    this.#actions.set(action.id, { request })
    return { kind: 'fresh' }
  }

  settle(done: GridDone): void {
    const action = this.#actions.get(done.id)
    if (action !== undefined) action.done = done
  }

  #forgetOldest(): boolean {
    for (const [id, action] of this.#actions) {
      if (action.done !== undefined) return this.#actions.delete(id)
    }
    return false
  }
}
