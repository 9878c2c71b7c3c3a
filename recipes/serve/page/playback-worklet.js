/**
 * The speaker's audio thread: a jitter buffer.
 *
 * It takes {type: "begin", id}, {type: "push", samples}, {type: "end"} and {type: "stop"}; it tells
 * {type: "started" | "progress" | "done", id, played, gaps, gapSamples, level}. A sound starts when PREFILL_S of it are
 * there. Where it runs dry before its end, that is a gap: it is counted, and more is buffered from then on.
 */

const PREFILL_S = 0.12;
const MAX_PREFILL_S = 0.96;
const REPORT_S = 0.1;
const FADE_S = 0.005; // a stop within a sample would click

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.reset(null);
    this.port.onmessage = ({ data }) => this[data.type](data.id ?? data.samples);
  }

  begin(id) {
    if (this.id !== null) this.report("done");
    this.reset(id);
  }

  reset(id) {
    this.id = id;
    this.queue = [];
    this.offset = 0; // into the first of the queue
    this.queued = 0;
    this.prefill = PREFILL_S * sampleRate;
    this.running = this.started = this.ended = false;
    this.fading = 0;
    this.played = this.gaps = this.gapSamples = 0;
    this.power = this.sinceReport = 0;
  }

  push(samples) {
    if (this.ended || !samples.length) return;
    this.queue.push(samples);
    this.queued += samples.length;
  }

  end() {
    this.ended = true;
  }

  stop() {
    this.ended = true;
    this.fading = Math.min(FADE_S * sampleRate, this.running ? this.queued : 0);
    this.queued = this.fading;
  }

  process(_, [[out]]) {
    if (this.id === null) return true;
    if (!this.running) this.running = this.queued > 0 && (this.ended || this.queued >= this.prefill);
    if (this.running && !this.started) {
      this.started = true;
      this.report("started");
    }
    const count = this.running ? this.fill(out) : 0;
    this.played += count;
    if (this.ended && !this.queued) return this.finish();
    if (count < out.length && this.started) this.starve(out.length - count);
    this.sinceReport += out.length;
    if (this.sinceReport >= REPORT_S * sampleRate) this.report("progress");
    return true;
  }

  /** Write what is queued to `out`; gives how many samples it was. */
  fill(out) {
    let count = 0;
    for (; count < out.length && this.queued; count++, this.queued--) {
      const sample = this.queue[0][this.offset++] * (this.fading ? this.queued / (FADE_S * sampleRate) : 1);
      if (this.offset === this.queue[0].length) {
        this.queue.shift();
        this.offset = 0;
      }
      out[count] = sample;
      this.power += sample * sample;
    }
    return count;
  }

  starve(missing) {
    if (this.running) {
      this.gaps += 1;
      this.prefill = Math.min(2 * this.prefill, MAX_PREFILL_S * sampleRate);
    }
    this.running = false;
    this.gapSamples += missing;
  }

  finish() {
    this.report("done");
    this.reset(null);
    return true;
  }

  report(type) {
    const level = Math.sqrt(this.power / Math.max(1, this.sinceReport));
    this.port.postMessage({ type, id: this.id, played: this.played, gaps: this.gaps, gapSamples: this.gapSamples, level });
    this.power = this.sinceReport = 0;
  }
}

registerProcessor("playback", Playback);
