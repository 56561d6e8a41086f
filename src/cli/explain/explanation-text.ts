import type { ChainDetail, PlanDetail } from '../../scheduler/index.ts'
import type { ExplainedChain, Explanation } from './explanation.ts'

/** The explanation as a page of text. */
export function explanationText({ atMs, planMs, level, chains, detail }: Explanation): string {
  const lines = [`At ${seconds(atMs)} s held the plan of ${seconds(planMs)} s; level of the stock: ${level}.`, '']
  if (detail !== undefined)
    lines.push(...modeLines(detail), ...stockLines(detail), ...priceLines(detail), ...gridLines(detail))
  lines.push('Chains:')
  const options = new Map(detail?.chains.map((chain) => [chain.chain, chain]))
  for (const chain of chains) lines.push(...chainLines(chain, options.get(chain.id)))
  return `${lines.join('\n')}\n`
}

function modeLines({
  mode,
  tMs,
  forecast,
  objective,
  bound,
  gap,
  proven,
  solveMs,
}: PlanDetail & { readonly tMs: number }) {
  const solved = `value ${figure(objective)}, proven to be at least ${figure(bound)} (gap ${percent(gap)})`
  const took = solveMs > 0 ? `, ${solveMs.toFixed(1)} ms` : ''
  const how: Readonly<Record<PlanDetail['mode'], string>> = {
    spare: `key to spare beyond K_th at the end; solved with better suites than required: ${solved}${took}`,
    optimal: `solved with K_th, or the present stock, kept at the end: ${solved}${took}`,
    reserve: `the end could not be kept; solved with K_safe alone: ${solved}${took}`,
    protect: 'no plan keeps K_safe with the wanted probability: protect mode, the most urgent chains alone are served',
    waiting: 'the key server had not been heard of yet: every chain in its required suite',
  }
  const search = mode !== 'protect' && mode !== 'waiting' ? (proven ? '' : ' The search ended at its limit.') : ''
  return [`Figures of ${seconds(tMs)} s: ${how[mode]}.${search}`, `Forecast by ${forecast}.`, '']
}

function stockLines({ stockBits, otherBits, stepMs, ...steps }: PlanDetail): readonly string[] {
  if (steps.supplyBits.length === 0) return []
  const lines = [
    `Stock ${bits(stockBits)} now; use that no chain explains ${bits((otherBits * 1000) / stepMs)}/s.`,
    row(['until', 'supply', 'may use', 'will use', 'left', 'price per kbit', 'stock at least']),
  ]
  for (const [t, supply] of steps.supplyBits.entries()) {
    const price = (steps.rowPrices[t] ?? 0) * 1000
    // A row that would save nothing if it gave more does not bind.
    const binds = price > 1e-9 ? `${figure(price)} binds` : '-'
    const columns = [steps.availableBits[t], steps.usedBits[t], steps.slackBits[t]].map((value) =>
      value === undefined ? '' : bits(value),
    )
    const lower = steps.stockLowerBits[t]
    lines.push(
      row([`${seconds((t + 1) * stepMs)} s`, bits(supply), ...columns, binds, lower === undefined ? '' : bits(lower)]),
    )
  }
  return [...lines, '']
}

function priceLines({ rowPrices }: PlanDetail): readonly string[] {
  if (rowPrices.length === 0) return []
  const now = rowPrices.reduce((sum, price) => sum + price, 0)
  return [
    now > 1e-12
      ? `Key used now is worth ${figure(now * 1000)} a kbit: each kbit more would save so much in the horizon.`
      : 'Key has no price: there is enough for all.',
    '',
  ]
}

function gridLines({ deviations = [], stepMs, supplyBits }: PlanDetail): readonly string[] {
  if (deviations.length === 0) return []
  const parts = deviations.map(({ bus, cost, worst }) => {
    if (bus === 0) return `  frequency ${figure(cost)}, at most ${figure(worst)} Hz off`
    const where = worst > 0 ? `at most ${figure(worst)} pu outside its band` : 'within its band'
    return `  voltage at bus ${bus} ${figure(cost)}, ${where}`
  })
  return [`Of the value, over ${seconds(stepMs * supplyBits.length)} s:`, ...parts, '']
}

function chainLines(chain: ExplainedChain, detail: ChainDetail | undefined): readonly string[] {
  const head = `  ${chain.id.padEnd(16)} ${chain.state} on path ${chain.path} since ${seconds(chain.sinceMs)} s: ${chain.why}`
  if (detail === undefined) return [head]
  const options = detail.options.map(({ name, usable, costPerS, keyBps, keyCostPerS, gridCostPerS }, index) => {
    const mark = index === detail.taken ? '>' : ' '
    if (!usable) return `      ${mark} ${name.padEnd(7)} not usable: its path is down or too slow`
    const total = costPerS + keyCostPerS + (gridCostPerS ?? 0)
    const grid = gridCostPerS === undefined ? '' : ` + grid ${figure(gridCostPerS)}/s`
    return `      ${mark} ${name.padEnd(7)} ${figure(costPerS)}/s + ${bits(keyBps)}/s of key worth ${figure(keyCostPerS)}/s${grid} = ${figure(total)}/s`
  })
  return [head, ...options]
}

function row(cells: readonly string[]): string {
  return `  ${cells.map((cell) => cell.padStart(14)).join(' ')}`
}

function bits(value: number): string {
  return Math.abs(value) >= 10_000 ? `${(value / 1000).toFixed(1)} kbit` : `${value.toFixed(0)} bit`
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}

function figure(value: number): string {
  return value === 0 ? '0' : value.toPrecision(3)
}

function percent(ratio: number): string {
  return `${(100 * ratio).toPrecision(2)} %`
}
