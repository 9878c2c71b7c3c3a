/** Who speaks when: questions go out, answers come in and are played, and whoever speaks interrupts. */

import { Exchange } from "./exchange.js";
import { RATE_HZ, fromBase64, joined, toBase64 } from "./sound.js";

const APPEND_SAMPLES = RATE_HZ; // of a recording, in one event
const KEPT_S = 1800; // of sound, to replay and save; 86 MB
const HEARD_S = 60; // of the microphone, to cut a spoken question from
const NOTHING_TO_CANCEL = "response_cancel_not_active"; // it had just ended: no trouble

/** A conversation with the server. */
export class Dialogue {
  /**
   * @param {import("./session.js").Session} session
   * @param {import("./player.js").Player} player
   * @param {object} told
   * @param {() => void} told.onChange called when the turn or an exchange may have changed
   * @param {(exchange: Exchange) => void} told.onExchange called with each new exchange
   * @param {(words: string) => void} told.onTrouble
   */
  constructor(session, player, { onChange, onExchange, onTrouble }) {
    Object.assign(this, { session, player, onChange, onExchange, onTrouble });
    this.exchanges = [];
    this.listening = false;
    this.model = "";
    this.#forgetSession();
  }

  #forgetSession() {
    this.items = new Map(); // exchanges by the id of their question's item
    this.recording = null; // the exchange of a recording that the server has not committed
    this.current = null; // the exchange that is answered or was answered last
    this.asked = []; // exchanges whose answers have not begun, in the order that they will
    this.speech = null; // {startMs} while the user is heard speaking
    this.spoken = null; // {startMs, endMs} of what was heard last
    this.startedId = null; // the answer that was heard last
    this.sent = new SentSound();
  }

  /** Whose turn it is: "idle", "listening", "hearing", "thinking" or "speaking". */
  get turn() {
    if (this.speech) return "hearing";
    if (this.player.id !== null && this.player.id === this.startedId) return "speaking";
    if (this.current?.isOpen) return "thinking";
    return this.listening ? "listening" : "idle";
  }

  /** Ask in writing. @param {string} text */
  write(text) {
    this.interrupt();
    this.#add(new Exchange({ how: "typed", text }));
    const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
    this.session.send({ type: "conversation.item.create", item });
    this.session.send({ type: "response.create" });
  }

  /** Ask with a recording: one turn, whatever pauses are in it. @param {Int16Array} pcm */
  play(pcm) {
    this.interrupt();
    this.recording = this.#add(new Exchange({ how: "recording", pcm }));
    this.#detectTurns(false);
    this.session.send({ type: "input_audio_buffer.clear" });
    for (let at = 0; at < pcm.length; at += APPEND_SAMPLES) this.#append(pcm.subarray(at, at + APPEND_SAMPLES));
    this.session.send({ type: "input_audio_buffer.commit" });
    this.session.send({ type: "response.create" });
    if (this.listening) this.#detectTurns(true);
  }

  /** The microphone is on: the server hears when a turn ends. */
  listen() {
    this.listening = true;
    this.#detectTurns(true);
    this.onChange();
  }

  /** The microphone is off: what was being said is asked, as it is. */
  stopListening() {
    this.listening = false;
    this.#detectTurns(false);
    if (this.speech) {
      this.session.send({ type: "input_audio_buffer.commit" });
      this.session.send({ type: "response.create" });
    } else {
      this.session.send({ type: "input_audio_buffer.clear" });
    }
    this.onChange();
  }

  /** A piece of what the microphone hears. @param {Int16Array} pcm */
  hear(pcm) {
    if (this.listening && this.session.isOpen) this.#append(pcm);
  }

  /** Silence the answer, and have the server stop it. */
  interrupt() {
    const exchange = this.current;
    const cutOff = exchange && (exchange.isOpen || this.player.id === exchange.answer.id);
    this.player.stop();
    if (cutOff) this.#cutOff(exchange);
    this.onChange();
  }

  #cutOff(exchange) {
    const { answer } = exchange;
    answer.interrupted = true;
    if (exchange.isOpen) this.session.send({ type: "response.cancel" });
    if (answer.itemId) {
      // In later turns, the model is to know only what the user heard.
      const heard = { item_id: answer.itemId, content_index: 0, audio_end_ms: Math.round(1000 * answer.playedS) };
      this.session.send({ type: "conversation.item.truncate", ...heard });
    }
    this.#close(exchange, exchange.isOpen ? "cancelled" : answer.status);
  }

  /** The connection is there: tell the server what this page sends and wants. */
  begin() {
    this.#forgetSession();
    this.#detectTurns(this.listening);
  }

  /** The connection is gone. */
  lose() {
    this.player.stop();
    if (this.current?.isOpen) this.#close(this.current, "lost");
    this.#forgetSession();
    this.onChange();
  }

  /** An event of the server; those that are not known are of no concern. */
  handle(event) {
    this.#handlers[event.type]?.(event);
    this.onChange();
  }

  #handlers = {
    "session.created": ({ session }) => (this.model = session.model ?? ""),
    "input_audio_buffer.speech_started": ({ audio_start_ms: startMs }) => {
      this.speech = { startMs };
      this.interrupt();
    },
    "input_audio_buffer.speech_stopped": ({ audio_end_ms: endMs }) => this.#fallSilent(endMs),
    "input_audio_buffer.committed": ({ item_id: id }) => this.#commit(id),
    "conversation.item.input_audio_transcription.completed": ({ item_id: id, transcript }) => {
      const exchange = this.items.get(id);
      if (!exchange) return;
      exchange.question.text = transcript.trim();
      exchange.show();
    },
    "response.created": ({ response }) => this.#beginAnswer(response.id),
    "response.output_audio_transcript.delta": (event) => this.#readAnswer(event),
    "response.output_text.delta": (event) => this.#readAnswer(event),
    "response.output_audio.delta": (event) => this.#hearAnswer(event),
    "response.output_audio.done": ({ response_id: id }) => this.#playing(id) && this.player.end(),
    "response.done": ({ response }) => this.#endAnswer(response),
    error: ({ error }) => {
      if (error.code === NOTHING_TO_CANCEL) return;
      this.onTrouble(error.message);
      if (!this.current?.isOpen || this.current.answer.id) return;
      this.asked = this.asked.filter((exchange) => exchange !== this.current);
      this.#close(this.current, "failed");
    },
  };

  #add(exchange) {
    this.exchanges.push(exchange);
    this.asked.push(exchange);
    this.current = exchange;
    this.onExchange(exchange);
    return exchange;
  }

  #append(pcm) {
    this.sent.add(pcm);
    this.session.send({ type: "input_audio_buffer.append", audio: toBase64(pcm) });
  }

  #detectTurns(wanted) {
    const format = { type: "audio/pcm", rate: RATE_HZ };
    const input = { format, transcription: {}, turn_detection: wanted ? { type: "server_vad" } : null };
    const session = { type: "realtime", output_modalities: ["audio"], audio: { input, output: { format } } };
    this.session.send({ type: "session.update", session });
  }

  #fallSilent(endMs) {
    if (this.speech) this.spoken = { ...this.speech, endMs };
    this.speech = null;
  }

  #commit(id) {
    if (this.speech) this.#fallSilent(Infinity); // Talk was pressed before the server heard a silence
    const pcm = this.spoken ? this.sent.between(this.spoken.startMs, this.spoken.endMs) : null;
    const exchange = this.recording ?? this.#add(new Exchange({ how: "spoken", pcm }));
    this.recording = this.spoken = null;
    this.items.set(id, exchange);
  }

  #beginAnswer(id) {
    const exchange = this.asked.shift();
    if (!exchange?.isOpen) return; // it was interrupted before
    exchange.answer.id = id;
    exchange.answer.status = "in_progress";
    this.player.begin(id);
  }

  #answering(id) {
    return this.current?.answer.id === id && this.current.isOpen ? this.current : null;
  }

  #playing(id) {
    return this.player.id === id;
  }

  #readAnswer({ response_id: id, delta }) {
    const exchange = this.#answering(id);
    if (!exchange) return;
    exchange.answer.text += delta;
    exchange.show();
  }

  #hearAnswer({ response_id: id, item_id: itemId, delta }) {
    const exchange = this.#answering(id);
    if (!exchange) return;
    exchange.answer.itemId = itemId;
    const pcm = fromBase64(delta);
    exchange.answer.pieces.push(pcm);
    if (this.#playing(id)) this.player.push(pcm);
  }

  #endAnswer({ id, status, status_details: details }) {
    const exchange = this.#answering(id);
    if (!exchange) return;
    if (this.#playing(id)) this.player.end();
    if (status === "failed") this.onTrouble(details?.error?.message ?? "The server could not answer.");
    this.#close(exchange, status);
  }

  #close(exchange, status) {
    exchange.answer.status = status;
    exchange.show();
    let keptS = 0;
    for (const each of [...this.exchanges].reverse()) {
      keptS += each.soundS;
      if (keptS > KEPT_S && each !== exchange) each.dropSound();
    }
  }

  /** The first of an answer's sound leaves the speaker in `latencyS`. */
  started(id, latencyS) {
    const exchange = this.#exchangeOf(id);
    if (!exchange) return;
    this.startedId = id;
    exchange.answer.firstSoundS = (performance.now() - exchange.endedAt) / 1000 + latencyS;
    exchange.show();
    this.onChange();
  }

  /** So much of an answer was played so far. */
  played(id, { playedS, gaps, gapS }) {
    const exchange = this.#exchangeOf(id);
    if (!exchange) return;
    Object.assign(exchange.answer, { playedS, gaps, gapS });
    exchange.show();
    this.onChange();
  }

  #exchangeOf(id) {
    return this.exchanges.findLast((exchange) => exchange.answer.id === id);
  }
}

/** What was sent of late: the server's times count from the first sample that it was sent. */
class SentSound {
  pieces = [];
  firstMs = 0;
  totalMs = 0;

  add(pcm) {
    this.pieces.push(pcm);
    this.totalMs += toMs(pcm.length);
    while (this.totalMs - this.firstMs > HEARD_S * 1000) this.firstMs += toMs(this.pieces.shift().length);
  }

  between(startMs, endMs) {
    const at = (ms) => Math.max(0, Math.round(((ms - this.firstMs) * RATE_HZ) / 1000));
    return joined(this.pieces).slice(at(startMs), at(Math.min(endMs, this.totalMs)));
  }
}

const toMs = (samples) => (1000 * samples) / RATE_HZ;
