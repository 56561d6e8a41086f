/**
 * Secret key rates of BB84: a single-photon model with an effective rate, and weak coherent pulses with decoy states.
 * Transmittances are ratios from 0 to 1.
 */

/** Binary entropy h(p), bits; 0 outside (0, 1). */
export function binaryEntropy(p: number): number {
  return p > 0 && p < 1 ? -(p * Math.log2(p) + (1 - p) * Math.log2(1 - p)) : 0
}

/** Single-photon BB84 with the optics and detectors gathered in one effective rate. */
export type Bb84 = {
  readonly kind: 'bb84'
  /** R_eff: clock x mean photon number x detector efficiency, 1/s. */
  readonly effectiveRatePerS: number
  /** q: part of the detections that sifting keeps. */
  readonly siftRatio: number
  /** e_d: part of the signal detections that are wrong (alignment). */
  readonly misalignmentRatio: number
  /** B: detections without signal (dark counts, stray light), 1/s; half of them are wrong. */
  readonly backgroundPerS: number
  /** f_EC: error correction above the Shannon limit; 1 is the paper's, 1.16 a good implementation's. */
  readonly errorCorrection: number
}

/** Decoy-state BB84 with infinitely many decoys: H.-K. Lo, X. Ma, K. Chen, Phys. Rev. Lett. 94, 230504 (2005). */
export type DecoyBb84 = {
  readonly kind: 'decoy'
  /** Pulses sent, 1/s. */
  readonly clockHz: number
  readonly siftRatio: number
  /** mu: mean photon number of the signal pulses; `optimalMeanPhotons` gives the best one. */
  readonly meanPhotons: number
  /** eta_Bob: receiver optics and detector efficiency. */
  readonly receiverRatio: number
  /** Y_0: probability of a detection without signal, a pulse. */
  readonly darkPerPulse: number
  /** e_detector: probability that a photon hits the wrong detector. */
  readonly misalignmentRatio: number
  /** f(E): error correction above the Shannon limit. */
  readonly errorCorrection: number
}

export type RateModel = Bb84 | DecoyBb84

/** Defaults of the single-photon model: 14 kbit/s at 20 km of fibre with 0.2 dB/km, QBER 2 %. */
export const BB84: Bb84 = Object.freeze({
  kind: 'bb84',
  effectiveRatePerS: 1e5,
  siftRatio: 0.5,
  misalignmentRatio: 0.02,
  backgroundPerS: 0,
  errorCorrection: 1.16,
})

/** The experiment of Gobby, Yuan and Shields (Appl. Phys. Lett. 84, 3762, 2004), fibre 0.21 dB/km, as Lo, Ma and Chen use it. */
export const GYS: DecoyBb84 = Object.freeze({
  kind: 'decoy',
  clockHz: 2e6,
  siftRatio: 0.5,
  meanPhotons: 0.48,
  receiverRatio: 0.045,
  darkPerPulse: 1.7e-6,
  misalignmentRatio: 0.033,
  errorCorrection: 1.22,
})

/** What a link yields at one moment. */
export type KeyRate = { readonly rateBps: number; readonly qber: number }

/** What disturbances add to a link's errors. */
export type Noise = {
  /** Detections without signal on top of the model's own, 1/s. */
  readonly backgroundPerS: number
  /** Added to the share of wrong signal detections. */
  readonly errorRatio: number
}

const QUIET: Noise = Object.freeze({ backgroundPerS: 0, errorRatio: 0 })

/**
 * Secret key rate and QBER of a link.
 * @param fibreRatio transmittance of the fibre
 */
export function keyRate(model: RateModel, fibreRatio: number, noise: Noise = QUIET): KeyRate {
  const wrongRatio = Math.min(0.5, model.misalignmentRatio + noise.errorRatio)
  return model.kind === 'bb84'
    ? bb84(model, fibreRatio, wrongRatio, model.backgroundPerS + noise.backgroundPerS)
    : decoy(model, fibreRatio, wrongRatio, model.darkPerPulse + noise.backgroundPerS / model.clockHz)
}

/** G = R_eff eta q max(0, 1 - f_EC h(Q) - h(Q)), Q = (e_d S + B/2) / (S + B), S = R_eff eta. */
function bb84(model: Bb84, fibreRatio: number, wrongRatio: number, backgroundPerS: number): KeyRate {
  const signalPerS = model.effectiveRatePerS * fibreRatio
  const allPerS = signalPerS + backgroundPerS
  const qber = allPerS > 0 ? (wrongRatio * signalPerS + 0.5 * backgroundPerS) / allPerS : 0.5
  const secretRatio = Math.max(0, 1 - (model.errorCorrection + 1) * binaryEntropy(qber))
  return { rateBps: signalPerS * model.siftRatio * secretRatio, qber }
}

/** R >= q (-Q_mu f h(E_mu) + Q_1 (1 - h(e_1))), Lo, Ma and Chen; coincidences of dark count and photon included. */
function decoy(model: DecoyBb84, fibreRatio: number, wrongRatio: number, darkPerPulse: number): KeyRate {
  const { clockHz, siftRatio, meanPhotons: mu, errorCorrection } = model
  const eta = fibreRatio * model.receiverRatio
  const y0 = Math.min(1, darkPerPulse)
  const [gain, qber] = detections(y0, -Math.expm1(-eta * mu), wrongRatio)
  const [singleYield, singleQber] = detections(y0, eta, wrongRatio)
  const singleGain = singleYield * mu * Math.exp(-mu)
  const perPulse = singleGain * (1 - binaryEntropy(singleQber)) - gain * errorCorrection * binaryEntropy(qber)
  return { rateBps: clockHz * siftRatio * Math.max(0, perPulse), qber }
}

/** Probability of a detection and its error rate, for pulses of which the part `signal` would be seen in the dark. */
function detections(y0: number, signal: number, wrongRatio: number): readonly [gain: number, qber: number] {
  const seen = (1 - y0) * signal
  const gain = y0 + seen
  return gain > 0 ? [gain, (0.5 * y0 + wrongRatio * seen) / gain] : [0, 0.5]
}

/**
 * Mean photon number with the largest decoy-state rate on a lossy link without background:
 * (1 - mu) e^-mu = f h(e_d) / (1 - h(e_d)). 0 when no number gives key.
 */
export function optimalMeanPhotons({ misalignmentRatio, errorCorrection }: DecoyBb84): number {
  const entropy = binaryEntropy(misalignmentRatio)
  const target = (errorCorrection * entropy) / (1 - entropy)
  let low = 0
  let high = 1
  // The left side falls from 1 to 0 on [0, 1].
  while (high - low > 1e-9) {
    const middle = (low + high) / 2
    if ((1 - middle) * Math.exp(-middle) > target) low = middle
    else high = middle
  }
  return low < 1e-8 ? 0 : low
}
