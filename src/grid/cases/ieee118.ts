/**
 * IEEE 118-bus system, 54 machines (35 of them synchronous condensers), 60 Hz.
 *
 * Network: see `ieee118-network.ts`. The case has no machine data of its own. Machines: a generic set on the machine's
 * base (Td0' = 6 s, Tq0' = 1 s, H = 3 s, Xd = 1.4, Xq = 1.35, Xd' = 0.3) and SEXS from `ieee118.dyr` of the UC3M
 * e-Archivo data set "Transient Stability Constrained Optimal Power Flow GAMS model generator on Python". Chosen here:
 * Xq' = Xd' (data set: 0.6), no saturation, D = 1 pu, ratings of the 19 generating units round(Pmax / 0.85) MVA and of
 * the condensers 100 MVA, condensers H = 1.5 s, TGOV1 of the 39-bus case on the 19 generating units.
 *
 * Zones: the three regions of NREL-118 (Pena, Martinez-Anido and Hodge, IEEE Trans. Power Syst. 33(1), 2018) as DSO1 to
 * DSO3, without the eleven 345 kV buses and bus 116 (fed from 68 only), which are the TSO's. Each zone is connected.
 */

import type { GridCase, Machine, Sexs, Tgov1 } from '../grid-case.ts'
import { branchOf, busOf } from '../grid-case.ts'
import { ieee118Branches, ieee118Buses } from './ieee118-network.ts'

const GOVERNOR: Tgov1 = { droop: 0.05, t1S: 0.5, t2S: 2.1, t3S: 7, dt: 0, vMin: 0, vMax: 1 }
const AVR: Sexs = { k: 200, taS: 1, tbS: 10, teS: 0.05, eMin: 0, eMax: 4 }
const UNIT = { d: 1, xd: 1.4, xd1: 0.3, xq: 1.35, td01S: 6, tq01S: 1, avr: AVR, hS: 3, governor: GOVERNOR }
const CONDENSER = { ...UNIT, pMw: 0, mBaseMva: 100, hS: 1.5, governor: null }

/** The IEEE 118-bus case. Slack: bus 69. */
export function ieee118(): GridCase {
  return {
    name: 'ieee118',
    baseMva: 100,
    f0Hz: 60,
    slackBus: 69,
    slackAngleDeg: 30,
    buses: ieee118Buses().map(busOf),
    branches: ieee118Branches().map(branchOf),
    machines: [...units(), ...condensers()].sort((a, b) => a.bus - b.bus),
    zones: zones(),
  }
}

/** Bus, dispatch MW (the slack's is a result), voltage set-point, rating MVA. */
function units(): readonly Machine[] {
  const rows: readonly (readonly [number, number, number, number])[] = [
    [10, 450, 1.05, 647],
    [12, 85, 0.99, 218],
    [25, 220, 1.05, 376],
    [26, 314, 1.015, 487],
    [31, 7, 0.967, 126],
    [46, 19, 1.005, 140],
    [49, 204, 1.025, 358],
    [54, 48, 0.955, 174],
    [59, 155, 0.985, 300],
    [61, 160, 0.995, 306],
    [65, 391, 1.005, 578],
    [66, 392, 1.05, 579],
    [69, 513.863, 1.035, 947],
    [80, 477, 1.04, 679],
    [87, 4, 1.015, 122],
    [89, 607, 1.005, 832],
    [100, 252, 1.017, 414],
    [103, 40, 1.01, 165],
    [111, 36, 0.98, 160],
  ]
  return rows.map(([bus, pMw, vSetPu, mBaseMva]) => ({ ...UNIT, bus, pMw, vSetPu, mBaseMva }))
}

/** Bus and voltage set-point. */
function condensers(): readonly Machine[] {
  const rows: readonly (readonly [number, number])[] = [
    [1, 0.955],
    [4, 0.998],
    [6, 0.99],
    [8, 1.015],
    [15, 0.97],
    [18, 0.973],
    [19, 0.962],
    [24, 0.992],
    [27, 0.968],
    [32, 0.963],
    [34, 0.984],
    [36, 0.98],
    [40, 0.97],
    [42, 0.985],
    [55, 0.952],
    [56, 0.954],
    [62, 0.998],
    [70, 0.984],
    [72, 0.98],
    [73, 0.991],
    [74, 0.958],
    [76, 0.943],
    [77, 1.006],
    [85, 0.985],
    [90, 0.985],
    [91, 0.98],
    [92, 0.99],
    [99, 1.01],
    [104, 0.971],
    [105, 0.965],
    [107, 0.952],
    [110, 0.973],
    [112, 0.975],
    [113, 0.993],
    [116, 1.005],
  ]
  return rows.map(([bus, vSetPu]) => ({ ...CONDENSER, bus, vSetPu }))
}

function zones(): Readonly<Record<string, readonly number[]>> {
  return {
    TSO: [8, 9, 10, 26, 30, 38, 63, 64, 65, 68, 81, 116],
    DSO1: [
      1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 29, 31, 32, 70, 71, 72,
      73, 74, 75, 113, 114, 115, 117,
    ],
    DSO2: [
      33, 34, 35, 36, 37, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61,
      62, 66, 67, 69, 76, 77, 78, 79, 80, 97, 98, 99, 118,
    ],
    DSO3: [
      82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110,
      111, 112,
    ],
  }
}
