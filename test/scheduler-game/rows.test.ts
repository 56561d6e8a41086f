import t from 'tap'
import {
  type ChanceInput,
  chanceHolds,
  fairnessOf,
  jain,
  normalQuantile,
  priceOfFairness,
  sharedRow,
  spreadOf,
} from '../../src/scheduler/game/index.ts'

const INPUT: ChanceInput = {
  stockBits: 4000,
  supplyBits: Array.from({ length: 10 }, () => 1000),
  supplyStdBits: Array.from({ length: 10 }, (_, step) => 100 * Math.sqrt(step + 1)),
  bufferBits: 500,
  reserveBits: 1500,
  riskRatio: 0.05,
}

t.test('quantiles of the normal distribution are those of the tables', async (t) => {
  for (const [p, x] of [
    [0.5, 0],
    [0.975, 1.959963984540054],
    [0.95, 1.6448536269514722],
    [0.995, 2.5758293035489004],
    [0.9999, 3.719016485455709],
    [0.025, -1.959963984540054],
  ] as const) {
    t.ok(Math.abs(normalQuantile(p) - x) < 1e-9, `${p}: ${normalQuantile(p)}`)
  }
  t.throws(() => normalQuantile(1), RangeError)
})

t.test('a plan that fits the linear row satisfies every chance row, whatever the spread it was made at', async (t) => {
  for (const spreadBits of [50, 300, 600, 2000]) {
    const row = sharedRow(INPUT, spreadBits)
    for (const varianceBits2 of [0, 1e4, 1e5, 5e5]) {
      const meanBits = row.budgetBits - row.riskPriceBits * varianceBits2
      if (meanBits >= 0) t.ok(chanceHolds(INPUT, { meanBits, varianceBits2 }), `a ${spreadBits}, V ${varianceBits2}`)
    }
  }
})

t.test('at the spread of the plan itself the row gives nothing away', async (t) => {
  const varianceBits2 = 2e5
  const spread = spreadOf(INPUT, varianceBits2)
  const row = sharedRow(INPUT, spread)
  const meanBits = row.budgetBits - row.riskPriceBits * varianceBits2
  t.ok(chanceHolds(INPUT, { meanBits, varianceBits2 }))
  t.notOk(chanceHolds(INPUT, { meanBits: meanBits + 2, varianceBits2 }))
})

t.test('an early shortage binds although the window as a whole has enough', async (t) => {
  const late: ChanceInput = {
    ...INPUT,
    stockBits: 600,
    reserveBits: 0,
    supplyBits: [0, 0, 0, ...Array.from({ length: 7 }, () => 3000)],
  }
  t.ok(sharedRow(late, 300).budgetBits < 600)
  t.throws(() => sharedRow({ ...INPUT, supplyBits: [] }, 300), RangeError)
  t.throws(() => sharedRow({ ...INPUT, riskRatio: 0.9 }, 300), RangeError)
})

t.test('Jain’s index is 1 for equal shares and 1/n when one has all', async (t) => {
  t.equal(jain([2, 2, 2, 2]), 1)
  t.equal(jain([1, 0, 0, 0]), 0.25)
  t.equal(jain([]), 1)
  t.equal(jain([0, 0]), 1)
})

t.test('fairness is of what each got of what it could have used', async (t) => {
  const fair = fairnessOf(
    [
      { deliveredBits: 500, fullDemandBits: 1000 },
      { deliveredBits: 2000, fullDemandBits: 4000 },
      { deliveredBits: 1500, fullDemandBits: 90_000 },
    ],
    3000,
  )
  t.same(fair.shares, [0.5, 2000 / 3000, 0.5])
  t.equal(fair.minShare, 0.5)
  t.equal(fair.fairnessIndex, jain([0.5, 2000 / 3000, 0.5]))
  t.ok(fair.rawJain < fair.fairnessIndex)
  t.equal(fairnessOf([{ deliveredBits: 0, fullDemandBits: 0 }], 10).minShare, 1, 'who asks for nothing is not deprived')
  t.equal(priceOfFairness(12, 10), 0.2)
  t.equal(priceOfFairness(0, 0), 0)
})
