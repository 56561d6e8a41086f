/** The figures at a glance. */
import type { LabState } from '../state.ts'
import { byId, el, keyed, setText } from './dom.ts'
import { bits, percent, signed } from './format.ts'

type Tile = { readonly name: string; readonly value: string; readonly note: string; readonly tone: string }

export function drawTiles(state: LabState): void {
  keyed(byId('tiles'), tilesOf(state), {
    key: ({ name }) => name,
    make: ({ name }) =>
      el(
        'div',
        { class: 'tile' },
        el('span', { class: 'tile-name' }, name),
        el('span', { class: 'tile-value num' }),
        el('span', { class: 'tile-note' }),
      ),
    update: (element, { value, note, tone }) => {
      const [, valueElement, noteElement] = element.children
      if (valueElement) setText(valueElement, value)
      if (noteElement) setText(noteElement, note)
      if (element instanceof HTMLElement && element.dataset['tone'] !== tone) element.dataset['tone'] = tone
    },
  })
}

function tilesOf({ pool, grid, chains, links, run, nodes }: LabState): readonly Tile[] {
  const count = (state: string): number => chains.filter((chain) => chain.state === state).length
  const sum = (field: 'inTime' | 'late' | 'failed'): number => chains.reduce((total, chain) => total + chain[field], 0)
  const [inTime, missed] = [sum('inTime'), sum('late') + sum('failed')]
  const down = links.filter(({ up }) => !up)
  const waiting = links.filter(({ up, session }) => up && session === 'down')
  const gone = nodes.filter(({ up }) => !up)
  return [
    {
      name: 'Key stock',
      value: pool === null ? '\u2013' : bits(pool.books.poolBits),
      note: pool === null ? 'no word yet' : pool.level,
      tone: pool === null || pool.level === 'normal' ? 'plain' : pool.level === 'protect' ? 'bad' : 'warn',
    },
    {
      name: 'Frequency',
      value: grid === null ? '\u2013' : `${signed(grid.deltaFHz, 3)} Hz`,
      note: grid === null ? 'no word yet' : `most ${grid.maxAbsDeltaFHz.toFixed(3)} Hz`,
      tone: grid !== null && (grid.collapsed || Math.abs(grid.deltaFHz) > 0.05) ? 'bad' : 'plain',
    },
    {
      name: 'Chains',
      value: `${count('otp')} OTP`,
      note: `${count('aes')} AES, ${count('off')} off`,
      tone: count('off') > 0 ? 'bad' : count('aes') > 0 ? 'warn' : 'plain',
    },
    {
      name: 'In time',
      value: percent(inTime, inTime + missed),
      note: `${inTime} of ${inTime + missed} commands`,
      tone: missed > 0 ? 'warn' : 'plain',
    },
    {
      name: 'Links',
      value: down.length === 0 ? 'all up' : `${down.length} down`,
      note:
        down.length > 0
          ? down.map(({ id }) => id).join(', ')
          : waiting.length > 0
            ? `${waiting.length} without session`
            : `${links.length} links`,
      tone: down.length > 0 ? 'bad' : waiting.length > 0 ? 'warn' : 'plain',
    },
    {
      name: 'Processes',
      value: `${run.processesUp} of ${run.processes}`,
      note: gone.length > 0 ? `${gone.map(({ id }) => id).join(', ')} down` : 'up',
      tone: gone.length > 0 ? 'bad' : 'plain',
    },
  ]
}
