/** Exact interval (Clopper and Pearson) of a probability from `hits` in `trials`, 95 %. */
export function exactInterval(hits: number, trials: number): { readonly low: number; readonly high: number } {
  const tail = 0.025
  return {
    low: hits === 0 ? 0 : root((p) => 1 - atMost(hits - 1, trials, p) - tail),
    high: hits === trials ? 1 : root((p) => tail - atMost(hits, trials, p)),
  }
}

/** Where a rising function is 0, by halving. */
function root(f: (p: number) => number): number {
  let [low, high] = [0, 1]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (f(middle) < 0) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Probability of at most `hits` in `trials`. */
function atMost(hits: number, trials: number, p: number): number {
  if (p <= 0) return 1
  if (p >= 1) return hits >= trials ? 1 : 0
  let logTerm = trials * Math.log1p(-p)
  let sum = Math.exp(logTerm)
  for (let k = 1; k <= hits; k++) {
    logTerm += Math.log((trials - k + 1) / k) + Math.log(p) - Math.log1p(-p)
    sum += Math.exp(logTerm)
  }
  return Math.min(1, sum)
}
