/** States of all machines (or their derivatives): eight per machine, one array a quantity, one block of memory. */
export class MachineStates {
  readonly all: Float64Array
  /** Rotor angle, rad, in a frame that turns at f0. */
  readonly delta: Float64Array
  /** Speed deviation w - 1, pu. */
  readonly speed: Float64Array
  /** E'q and E'd, pu. */
  readonly eq1: Float64Array
  readonly ed1: Float64Array
  /** SEXS: lead-lag state and field voltage, pu. */
  readonly lag: Float64Array
  readonly efd: Float64Array
  /** TGOV1: valve and reheater, pu on the machine's rating. */
  readonly valve: Float64Array
  readonly reheat: Float64Array

  constructor(machines: number) {
    this.all = new Float64Array(8 * machines)
    const block = (k: number): Float64Array => this.all.subarray(k * machines, (k + 1) * machines)
    this.delta = block(0)
    this.speed = block(1)
    this.eq1 = block(2)
    this.ed1 = block(3)
    this.lag = block(4)
    this.efd = block(5)
    this.valve = block(6)
    this.reheat = block(7)
  }
}
