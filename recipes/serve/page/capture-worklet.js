/** The microphone's audio thread: mono at 24 kHz, in pieces of 40 ms, with their level. */

import { Resampler } from "./resample.js";
import { RATE_HZ, toPcm16 } from "./sound.js";

const PIECE_SAMPLES = 0.04 * RATE_HZ;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE_HZ);
    this.piece = new Float32Array(PIECE_SAMPLES);
    this.filled = 0;
    this.running = true;
    this.port.onmessage = () => (this.running = false);
  }

  process([channels]) {
    if (this.running && channels.length) this.resampler.push(mixed(channels)).forEach((sample) => this.add(sample));
    return this.running;
  }

  add(sample) {
    this.piece[this.filled++] = sample;
    if (this.filled < PIECE_SAMPLES) return;
    const power = this.piece.reduce((sum, x) => sum + x * x, 0) / PIECE_SAMPLES;
    const pcm = toPcm16(this.piece);
    this.port.postMessage({ pcm, levelDb: 10 * Math.log10(power + 1e-10) }, [pcm.buffer]);
    this.filled = 0;
  }
}

function mixed(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, n) => channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length);
}

registerProcessor("capture", Capture);
