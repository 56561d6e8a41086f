/** Jain's index of non-negative shares: 1 all equal, 1/n one has all. 1 when all are 0. */
export function jain(shares: readonly number[]): number {
  let [sum, squares] = [0, 0]
  for (const share of shares) {
    sum += share
    squares += share * share
  }
  return squares === 0 ? 1 : (sum * sum) / (shares.length * squares)
}

/** What one agent got over the measuring window, bits. */
export type AgentDelivery = {
  /** Key bits of its delivered messages. */
  readonly deliveredBits: number
  /** Key bits its messages would have taken, all with the one-time pad. */
  readonly fullDemandBits: number
}

export type Fairness = {
  /** F_K: Jain of r_a = delivered bits / min(full-OTP demand, cap). */
  readonly fairnessIndex: number
  /** Least r_a. */
  readonly minShare: number
  /** Jain of the delivered bits as they are. */
  readonly rawJain: number
  readonly shares: readonly number[]
}

/** @param capBits what one agent could have got at most: all key there was in the window */
export function fairnessOf(agents: readonly AgentDelivery[], capBits: number): Fairness {
  const shares = agents.map(({ deliveredBits, fullDemandBits }) => {
    const most = Math.min(fullDemandBits, capBits)
    return most > 0 ? deliveredBits / most : 1
  })
  return {
    fairnessIndex: jain(shares),
    minShare: shares.length === 0 ? 1 : Math.min(...shares),
    rawJain: jain(agents.map(({ deliveredBits }) => deliveredBits)),
    shares,
  }
}

/** How much more than the social optimum all agents together lose, relative. */
export function priceOfFairness(socialLoss: number, optimalLoss: number): number {
  return optimalLoss === 0 ? (socialLoss === 0 ? 0 : Infinity) : (socialLoss - optimalLoss) / Math.abs(optimalLoss)
}
