// The chains of tiny.yaml, written out: name this file in a scenario with `chains: { file: tiny-chains.ts }`.
import { chain } from 'q104'

const station = ['cc', 'gwA', 'rtu1']

export const chains = [
  chain({ id: 'shed-3', taskType: 'shedding', priority: 0, cryptoMode: 'otp', path: [...station, 'load3'] }),
  chain({ id: 'agc-30', taskType: 'agc', priority: 1, cryptoMode: 'adaptive', path: [...station, 'gen30'] }),
]
