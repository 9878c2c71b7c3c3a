/** The speaker: plays one sound at a time through the jitter buffer of playback-worklet.js. */

import { RATE_HZ, toFloat } from "./sound.js";

/** Plays sounds, each named by an id; a new one ends the one before. */
export class Player {
  /** @param {{onStarted: Function, onProgress: Function, onDone: Function}} told each is called with the id and counters */
  constructor(told) {
    this.told = told;
    this.id = null;
  }

  /** Whether this page may play sound at all: worklets exist in secure contexts only. */
  static get possible() {
    return window.isSecureContext && "audioWorklet" in AudioContext.prototype;
  }

  /** Get ready, in answer to a click or a key: browsers let no page play before. */
  async open() {
    if (!Player.possible) return;
    this.opening ??= this.#open();
    await this.opening;
    await this.context.resume();
  }

  async #open() {
    this.context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule(new URL("playback-worklet.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.#hear(data);
    this.node.connect(this.context.destination);
  }

  #hear({ type, id, played, gaps, gapSamples, level }) {
    const counters = { playedS: played / RATE_HZ, gaps, gapS: gapSamples / RATE_HZ, level };
    if (type === "done" && id === this.id) this.id = null;
    if (type === "started") this.told.onStarted(id, this.context.outputLatency || this.context.baseLatency || 0);
    else if (type === "progress") this.told.onProgress(id, counters);
    else this.told.onDone(id, counters);
  }

  /** Begin a sound. */
  begin(id) {
    if (!this.node) return;
    this.stop();
    this.id = id;
    this.node.port.postMessage({ type: "begin", id });
  }

  /** Add to the sound that was begun. @param {Int16Array} pcm */
  push(pcm) {
    const samples = toFloat(pcm);
    this.node?.port.postMessage({ type: "push", samples }, [samples.buffer]);
  }

  /** Nothing more is added. */
  end() {
    this.node?.port.postMessage({ type: "end" });
  }

  /** Be silent, at once. */
  stop() {
    if (this.id === null) return;
    this.node?.port.postMessage({ type: "stop" });
    this.id = null;
  }

  /** Play a whole sound. @param {Int16Array} pcm */
  play(id, pcm) {
    this.begin(id);
    this.push(pcm);
    this.end();
  }
}
