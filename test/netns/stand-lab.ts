/**
 * Makes a lab of three nodes that stands, for tests that kill it while it does: `node stand-lab.js <isolation> <lab>`.
 */
import { type Isolation, planLab, standLab } from '../../netns/index.ts'
import { CLEAR } from '../../src/sim/index.ts'

const [isolation = 'netns', lab = ''] = process.argv.slice(2)
const net = {
  lab,
  nodes: ['cc', 'gw', 'rtu'].map((id, i) => ({ id, number: i + 1 })),
  links: [
    { link: 0, ends: ['cc', 'gw'] },
    { link: 1, ends: ['gw', 'rtu'] },
  ] as const,
}
const laws = new Map(net.links.map(({ link }) => [link, { ...CLEAR, delayMs: 1 }]))
const { wasUp } = await standLab(planLab(net, isolation as Isolation), 'stand-lab', laws)
console.log(wasUp ? 'was up' : 'up')
