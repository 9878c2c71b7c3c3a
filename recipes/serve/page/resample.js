/**
 * Sample rate conversion of a stream, by a windowed sinc.
 *
 * Source: J. O. Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample/; Kaiser's window.
 */

const ZERO_CROSSINGS = 16; // on each side of the sinc
const ROLL_OFF = 0.92; // cutoff as a share of the lower Nyquist frequency
const KAISER_BETA = 8; // 80 dB in the stop band

/** Converts mono float samples piece by piece; the pieces joined are the conversion of the whole. */
export class Resampler {
  /**
   * @param {number} fromHz rate of what is pushed, a whole number
   * @param {number} toHz rate of what comes out, a whole number
   */
  constructor(fromHz, toHz) {
    const common = gcd(fromHz, toHz);
    this.up = toHz / common;
    this.down = fromHz / common;
    const cutoff = (ROLL_OFF * Math.min(1, toHz / fromHz)) / 2; // cycles per input sample
    this.half = Math.ceil(ZERO_CROSSINGS / (2 * cutoff));
    this.filters = Array.from({ length: this.up }, (_, phase) => filter(phase / this.up, this.half, cutoff));
    this.pending = new Float32Array(this.half - 1); // silence before the first sample
    this.time = 0; // of the next output sample, from the first pending one the filter reaches, in 1/up input samples
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array} as many samples as can be computed so far
   */
  push(samples) {
    const input = joined(this.pending, samples);
    const taps = 2 * this.half;
    const out = [];
    for (; Math.floor(this.time / this.up) + taps <= input.length; this.time += this.down) {
      const first = Math.floor(this.time / this.up);
      const weights = this.filters[this.time % this.up];
      let sum = 0;
      for (let tap = 0; tap < taps; tap++) sum += weights[tap] * input[first + tap];
      out.push(sum);
    }
    const done = Math.min(Math.floor(this.time / this.up), input.length);
    this.pending = input.slice(done);
    this.time -= done * this.up;
    return Float32Array.from(out);
  }
}

/** Weights of 2 * half samples around a point that lies `fraction` of a sample after sample half - 1. */
function filter(fraction, half, cutoff) {
  const weights = Float64Array.from({ length: 2 * half }, (_, tap) => {
    const x = tap - (half - 1) - fraction;
    return Math.abs(x) >= half ? 0 : sinc(2 * cutoff * x) * kaiser(x / half);
  });
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum); // constants stay what they are
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a);
const sinc = (x) => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);
const kaiser = (x) => bessel(KAISER_BETA * Math.sqrt(1 - x * x)) / bessel(KAISER_BETA);

/** Modified Bessel function of the first kind, order 0, by its power series. */
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function joined(a, b) {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
