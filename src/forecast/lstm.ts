/** Parameters of a network of one LSTM layer and a linear output layer, in one array: Wx, Wh, b (gates i, f, g, o), Wy, by. */
export type Network = {
  readonly inputs: number
  readonly units: number
  readonly outputs: number
  readonly parameters: Float32Array | Float64Array
}

export function parameterCount(inputs: number, units: number, outputs: number): number {
  return 4 * units * (inputs + units + 1) + outputs * (units + 1)
}

/** A fresh network: uniform in +-1/sqrt(units), the forget gate open, the outputs zero. */
export function networkOf(
  { inputs, units, outputs }: Omit<Network, 'parameters'>,
  uniform: () => number,
  parameters: Float32Array | Float64Array = new Float32Array(parameterCount(inputs, units, outputs)),
): Network {
  const reach = 1 / Math.sqrt(units)
  const biasAt = 4 * units * (inputs + units)
  const outputAt = biasAt + 4 * units
  for (let i = 0; i < biasAt; i++) parameters[i] = reach * (2 * uniform() - 1)
  for (let i = units; i < 2 * units; i++) parameters[biasAt + i] = 1
  // Small, not zero: the hidden layer learns from the first step on.
  for (let i = outputAt; i < parameters.length; i++) parameters[i] = 0.1 * reach * (2 * uniform() - 1)
  return { inputs, units, outputs, parameters }
}

/** State and activations of `steps` steps of one sequence; row t holds step t, row 0 of h and c the state before. */
export type Tape = {
  readonly gates: Float64Array
  readonly h: Float64Array
  readonly c: Float64Array
  readonly tanhC: Float64Array
  readonly outputs: Float64Array
}

export function tapeOf({ units, outputs }: Network, steps: number): Tape {
  return {
    gates: new Float64Array(4 * units * steps),
    h: new Float64Array(units * (steps + 1)),
    c: new Float64Array(units * (steps + 1)),
    tanhC: new Float64Array(units * steps),
    outputs: new Float64Array(outputs * steps),
  }
}

/** One step at row `t` of the tape, with the inputs at `x[at ...]`. */
export function forwardStep(network: Network, tape: Tape, t: number, x: Float32Array | Float64Array, at: number): void {
  const { inputs, units, outputs, parameters: p } = network
  const { gates, h, c } = tape
  const hiddenAt = 4 * units * inputs
  const biasAt = hiddenAt + 4 * units * units
  const outputAt = biasAt + 4 * units
  const before = t * units
  const gateAt = 4 * units * t
  for (let r = 0; r < 4 * units; r++) {
    let sum = p[biasAt + r] ?? 0
    let w = r * inputs
    for (let j = 0; j < inputs; j++) sum += (p[w + j] ?? 0) * (x[at + j] ?? 0)
    w = hiddenAt + r * units
    for (let j = 0; j < units; j++) sum += (p[w + j] ?? 0) * (h[before + j] ?? 0)
    gates[gateAt + r] = r >= 2 * units && r < 3 * units ? Math.tanh(sum) : 1 / (1 + Math.exp(-sum))
  }
  const after = before + units
  for (let j = 0; j < units; j++) {
    const [i, f] = [gates[gateAt + j] ?? 0, gates[gateAt + units + j] ?? 0]
    const [g, o] = [gates[gateAt + 2 * units + j] ?? 0, gates[gateAt + 3 * units + j] ?? 0]
    const cell = f * (c[before + j] ?? 0) + i * g
    const squashed = Math.tanh(cell)
    c[after + j] = cell
    tape.tanhC[before + j] = squashed
    h[after + j] = o * squashed
  }
  const yBiasAt = outputAt + outputs * units
  for (let k = 0; k < outputs; k++) {
    let sum = p[yBiasAt + k] ?? 0
    const w = outputAt + k * units
    for (let j = 0; j < units; j++) sum += (p[w + j] ?? 0) * (h[after + j] ?? 0)
    tape.outputs[t * outputs + k] = sum
  }
}

/** Takes the state after `steps` steps as the state before the next ones. */
export function carryState({ units }: Network, tape: Tape, steps: number): void {
  tape.h.copyWithin(0, steps * units, (steps + 1) * units)
  tape.c.copyWithin(0, steps * units, (steps + 1) * units)
}

/**
 * Backpropagation through the `steps` steps of a tape; the state before them counts as given (truncated BPTT).
 * @param dOutputs derivative of the loss by each output
 * @param gradient is added to, in the order of the parameters
 */
export function backward(
  network: Network,
  tape: Tape,
  steps: number,
  {
    x,
    at,
    dOutputs,
    gradient,
  }: {
    readonly x: Float32Array | Float64Array
    readonly at: number
    readonly dOutputs: Float64Array
    readonly gradient: Float64Array
  },
): void {
  const { inputs, units, outputs, parameters: p } = network
  const hiddenAt = 4 * units * inputs
  const biasAt = hiddenAt + 4 * units * units
  const outputAt = biasAt + 4 * units
  const yBiasAt = outputAt + outputs * units
  let dh = new Float64Array(units)
  let dhBefore = new Float64Array(units)
  const dc = new Float64Array(units)
  const dz = new Float64Array(4 * units)
  for (let t = steps - 1; t >= 0; t--) {
    const before = t * units
    const after = before + units
    for (let k = 0; k < outputs; k++) {
      const d = dOutputs[t * outputs + k] ?? 0
      if (d === 0) continue
      gradient[yBiasAt + k] = (gradient[yBiasAt + k] ?? 0) + d
      const w = outputAt + k * units
      for (let j = 0; j < units; j++) {
        gradient[w + j] = (gradient[w + j] ?? 0) + d * (tape.h[after + j] ?? 0)
        dh[j] = (dh[j] ?? 0) + d * (p[w + j] ?? 0)
      }
    }
    gateDerivatives(tape, t, units, dh, dc, dz)
    dhBefore.fill(0)
    for (let r = 0; r < 4 * units; r++) {
      const d = dz[r] ?? 0
      gradient[biasAt + r] = (gradient[biasAt + r] ?? 0) + d
      let w = r * inputs
      const xAt = at + t * inputs
      for (let j = 0; j < inputs; j++) gradient[w + j] = (gradient[w + j] ?? 0) + d * (x[xAt + j] ?? 0)
      w = hiddenAt + r * units
      for (let j = 0; j < units; j++) {
        gradient[w + j] = (gradient[w + j] ?? 0) + d * (tape.h[before + j] ?? 0)
        dhBefore[j] = (dhBefore[j] ?? 0) + d * (p[w + j] ?? 0)
      }
    }
    const spare = dh
    dh = dhBefore
    dhBefore = spare
  }
}

/** Derivatives before the gates' squashing into `dz`; `dc` becomes that of the cell before. */
function gateDerivatives(
  tape: Tape,
  t: number,
  units: number,
  dh: Float64Array,
  dc: Float64Array,
  dz: Float64Array,
): void {
  const gateAt = 4 * units * t
  const before = t * units
  for (let j = 0; j < units; j++) {
    const [i, f] = [tape.gates[gateAt + j] ?? 0, tape.gates[gateAt + units + j] ?? 0]
    const [g, o] = [tape.gates[gateAt + 2 * units + j] ?? 0, tape.gates[gateAt + 3 * units + j] ?? 0]
    const squashed = tape.tanhC[before + j] ?? 0
    const d = dh[j] ?? 0
    const dCell = (dc[j] ?? 0) + d * o * (1 - squashed * squashed)
    dz[j] = dCell * g * i * (1 - i)
    dz[units + j] = dCell * (tape.c[before + j] ?? 0) * f * (1 - f)
    dz[2 * units + j] = dCell * i * (1 - g * g)
    dz[3 * units + j] = d * squashed * o * (1 - o)
    dc[j] = dCell * f
  }
}

/** Adam (Kingma and Ba, ICLR 2015) with the gradient's norm clipped. */
export class Adam {
  readonly #first: Float64Array
  readonly #second: Float64Array
  #count = 0

  constructor(size: number) {
    this.#first = new Float64Array(size)
    this.#second = new Float64Array(size)
  }

  /** Changes `parameters` and sets `gradient` to zero. */
  step(parameters: Float32Array | Float64Array, gradient: Float64Array, rate: number, maxNorm = 1): void {
    let square = 0
    for (let i = 0; i < gradient.length; i++) square += (gradient[i] ?? 0) ** 2
    const norm = Math.sqrt(square)
    const scale = norm > maxNorm ? maxNorm / norm : 1
    this.#count++
    const firstScale = 1 / (1 - 0.9 ** this.#count)
    const secondScale = 1 / (1 - 0.999 ** this.#count)
    for (let i = 0; i < gradient.length; i++) {
      const g = scale * (gradient[i] ?? 0)
      const m = 0.9 * (this.#first[i] ?? 0) + 0.1 * g
      const v = 0.999 * (this.#second[i] ?? 0) + 0.001 * g * g
      this.#first[i] = m
      this.#second[i] = v
      parameters[i] = (parameters[i] ?? 0) - (rate * m * firstScale) / (Math.sqrt(v * secondScale) + 1e-8)
    }
    gradient.fill(0)
  }
}
