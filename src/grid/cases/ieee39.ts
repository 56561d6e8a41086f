/**
 * IEEE 39-bus system (New England), 10 machines, 60 Hz.
 *
 * Network, loads and dispatch: MATPOWER `data/case39.m` (there credited to Bills et al., EEI RP90-1, 1970; Pai 1989;
 * Athay 1979). Machines: Athay, Podmore and Virmani 1979 and Pai 1989 as reproduced by Hiskens (IEEE PES task force on
 * benchmark systems for stability controls), converted to the machine ratings of the DIgSILENT PowerFactory model
 * (unit 34 is 2 x 300 MVA). Chosen here: Xq' = Xd' (transient saliency neglected), Tq0' = 1.5 s at bus 30, D = 1 pu on
 * the machine's base (the sources give 0).
 *
 * TGOV1 (typical reheat steam values, Kundur 1994, chapter 11: T1 = TG + TCH, T3 = TRH, T2 = FHP TRH) drives the nine
 * New England units; bus 39, the equivalent of the rest of the interconnection, has none. SEXS: K, TA, TB, TE of the
 * TOPS model, limits of Hiskens; stable without stabilisers.
 *
 * Traps: ANDES' `ieee39_full.xlsx` mixes bases (total inertia 907 s instead of 782.7 s on 100 MVA), and Pai's and
 * Hiskens' variants have other loads at buses 1, 9 and 20. Do not mix them with this case.
 */

import type { BranchRow, BusRow, GridCase, Sexs, Tgov1 } from '../grid-case.ts'
import { branchOf, busOf } from '../grid-case.ts'

const GOVERNOR: Tgov1 = { droop: 0.05, t1S: 0.5, t2S: 2.1, t3S: 7, dt: 0, vMin: 0, vMax: 1 }
const AVR: Sexs = { k: 100, taS: 2, tbS: 10, teS: 0.5, eMin: -5, eMax: 5 }
const BUSES_WITHOUT_GOVERNOR: readonly number[] = [39]

/** Bus, dispatch MW (the slack's is a result), voltage set-point, rating MVA, H s, Xd, Xd', Xq, Td0' s, Tq0' s. */
type MachineRow = readonly [number, number, number, number, number, number, number, number, number, number]

/** The IEEE 39-bus case. Slack: bus 31. */
export function ieee39(): GridCase {
  return {
    name: 'ieee39',
    baseMva: 100,
    f0Hz: 60,
    slackBus: 31,
    slackAngleDeg: 0,
    buses: buses().map(busOf),
    branches: branches().map(branchOf),
    machines: machines().map(([bus, pMw, vSetPu, mBaseMva, hS, xd, xd1, xq, td01S, tq01S]) => ({
      bus,
      pMw,
      vSetPu,
      mBaseMva,
      hS,
      d: 1,
      xd,
      xd1,
      xq,
      td01S,
      tq01S,
      governor: BUSES_WITHOUT_GOVERNOR.includes(bus) ? null : GOVERNOR,
      avr: AVR,
    })),
  }
}

function buses(): readonly BusRow[] {
  return [
    [1, 97.6, 44.2],
    [2, 0, 0],
    [3, 322, 2.4],
    [4, 500, 184],
    [5, 0, 0],
    [6, 0, 0],
    [7, 233.8, 84],
    [8, 522, 176.6],
    [9, 6.5, -66.6],
    [10, 0, 0],
    [11, 0, 0],
    [12, 8.53, 88],
    [13, 0, 0],
    [14, 0, 0],
    [15, 320, 153],
    [16, 329, 32.3],
    [17, 0, 0],
    [18, 158, 30],
    [19, 0, 0],
    [20, 680, 103],
    [21, 274, 115],
    [22, 0, 0],
    [23, 247.5, 84.6],
    [24, 308.6, -92.2],
    [25, 224, 47.2],
    [26, 139, 17],
    [27, 281, 75.5],
    [28, 206, 27.6],
    [29, 283.5, 26.9],
    [30, 0, 0],
    [31, 9.2, 4.6],
    [32, 0, 0],
    [33, 0, 0],
    [34, 0, 0],
    [35, 0, 0],
    [36, 0, 0],
    [37, 0, 0],
    [38, 0, 0],
    [39, 1104, 250],
  ]
}

function branches(): readonly BranchRow[] {
  return [
    [1, 2, 0.0035, 0.0411, 0.6987],
    [1, 39, 0.001, 0.025, 0.75],
    [2, 3, 0.0013, 0.0151, 0.2572],
    [2, 25, 0.007, 0.0086, 0.146],
    [2, 30, 0, 0.0181, 0, 1.025],
    [3, 4, 0.0013, 0.0213, 0.2214],
    [3, 18, 0.0011, 0.0133, 0.2138],
    [4, 5, 0.0008, 0.0128, 0.1342],
    [4, 14, 0.0008, 0.0129, 0.1382],
    [5, 6, 0.0002, 0.0026, 0.0434],
    [5, 8, 0.0008, 0.0112, 0.1476],
    [6, 7, 0.0006, 0.0092, 0.113],
    [6, 11, 0.0007, 0.0082, 0.1389],
    [6, 31, 0, 0.025, 0, 1.07],
    [7, 8, 0.0004, 0.0046, 0.078],
    [8, 9, 0.0023, 0.0363, 0.3804],
    [9, 39, 0.001, 0.025, 1.2],
    [10, 11, 0.0004, 0.0043, 0.0729],
    [10, 13, 0.0004, 0.0043, 0.0729],
    [10, 32, 0, 0.02, 0, 1.07],
    [12, 11, 0.0016, 0.0435, 0, 1.006],
    [12, 13, 0.0016, 0.0435, 0, 1.006],
    [13, 14, 0.0009, 0.0101, 0.1723],
    [14, 15, 0.0018, 0.0217, 0.366],
    [15, 16, 0.0009, 0.0094, 0.171],
    [16, 17, 0.0007, 0.0089, 0.1342],
    [16, 19, 0.0016, 0.0195, 0.304],
    [16, 21, 0.0008, 0.0135, 0.2548],
    [16, 24, 0.0003, 0.0059, 0.068],
    [17, 18, 0.0007, 0.0082, 0.1319],
    [17, 27, 0.0013, 0.0173, 0.3216],
    [19, 20, 0.0007, 0.0138, 0, 1.06],
    [19, 33, 0.0007, 0.0142, 0, 1.07],
    [20, 34, 0.0009, 0.018, 0, 1.009],
    [21, 22, 0.0008, 0.014, 0.2565],
    [22, 23, 0.0006, 0.0096, 0.1846],
    [22, 35, 0, 0.0143, 0, 1.025],
    [23, 24, 0.0022, 0.035, 0.361],
    [23, 36, 0.0005, 0.0272, 0],
    [25, 26, 0.0032, 0.0323, 0.531],
    [25, 37, 0.0006, 0.0232, 0, 1.025],
    [26, 27, 0.0014, 0.0147, 0.2396],
    [26, 28, 0.0043, 0.0474, 0.7802],
    [26, 29, 0.0057, 0.0625, 1.029],
    [28, 29, 0.0014, 0.0151, 0.249],
    [29, 38, 0.0008, 0.0156, 0, 1.025],
  ]
}

function machines(): readonly MachineRow[] {
  return [
    [30, 250, 1.0499, 1000, 4.2, 1, 0.31, 0.69, 10.2, 1.5],
    [31, 677.871, 0.982, 700, 4.32857142857, 2.065, 0.4879, 1.974, 6.56, 1.5],
    [32, 650, 0.9841, 800, 4.475, 1.996, 0.4248, 1.896, 5.7, 1.5],
    [33, 632, 0.9972, 800, 3.575, 2.096, 0.3488, 2.064, 5.69, 1.5],
    [34, 508, 1.0123, 600, 4.33333333333, 4.02, 0.792, 3.72, 5.4, 0.44],
    [35, 650, 1.0494, 800, 4.35, 2.032, 0.4, 1.928, 7.3, 0.4],
    [36, 560, 1.0636, 700, 3.77142857143, 2.065, 0.343, 2.044, 5.66, 1.5],
    [37, 540, 1.0275, 700, 3.47142857143, 2.03, 0.399, 1.96, 6.7, 0.41],
    [38, 830, 1.0265, 1000, 3.45, 2.106, 0.57, 2.05, 4.79, 1.96],
    [39, 1000, 1.03, 10000, 5, 2, 0.6, 1.9, 7, 0.7],
  ]
}
