/** A question and its answer: what was said and heard, and how it is shown. */

import { RATE_HZ, joined } from "./sound.js";

/** One exchange. Texts come from people and models: they are set as text, never as HTML. */
export class Exchange {
  /**
   * @param {object} question
   * @param {"spoken"|"recording"|"typed"} question.how
   * @param {string} [question.text]
   * @param {Int16Array} [question.pcm]
   */
  constructor({ how, text = "", pcm = null }) {
    this.question = { how, text, pcm };
    this.answer = { id: null, itemId: null, text: "", pieces: [], status: "waiting", interrupted: false };
    Object.assign(this.answer, { firstSoundS: null, playedS: 0, gaps: 0, gapS: 0 });
    this.endedAt = performance.now();
    this.element = element("article", "exchange");
    this.asked = part(this.element, "question", "You");
    this.answered = part(this.element, "answer", "Model");
    this.show();
  }

  /** Whether the server may still send something of the answer. */
  get isOpen() {
    return this.answer.status === "waiting" || this.answer.status === "in_progress";
  }

  /** The answer's sound so far. */
  get answerPcm() {
    return joined(this.answer.pieces);
  }

  /** @param {(pcm: () => Int16Array) => void} play called by the buttons that replay a sound */
  replayWith(play) {
    this.asked.replay.onclick = () => play(this.question.pcm);
    this.answered.replay.onclick = () => play(this.answerPcm);
  }

  /** Seconds of sound that are kept. */
  get soundS() {
    return ((this.question.pcm?.length ?? 0) + this.answerSamples) / RATE_HZ;
  }

  get answerSamples() {
    return this.answer.pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  /** Forget the sound; the text stays. */
  dropSound() {
    this.question.pcm = null;
    this.answer.pieces = [];
    this.show();
  }

  /** Show what there is now. */
  show() {
    const { question, answer } = this;
    this.asked.text.textContent = question.text || (question.how === "recording" ? "(a recording)" : "(spoken)");
    this.asked.replay.hidden = !question.pcm?.length;
    this.answered.text.textContent = answer.text || (this.isOpen ? "…" : "(nothing)");
    this.answered.element.setAttribute("aria-busy", this.isOpen); // read aloud when it is whole, not word by word
    this.answered.element.dataset.status = answer.status;
    this.answered.replay.hidden = this.isOpen || !answer.pieces.length;
    this.answered.measured.textContent = this.#measured().join(" · ");
  }

  #measured() {
    const { firstSoundS, status, interrupted, playedS, gaps, gapS } = this.answer;
    const speechS = this.answerSamples / RATE_HZ;
    return [
      firstSoundS !== null && `first sound after ${firstSoundS.toFixed(2)} s`,
      speechS > 0 && !this.isOpen && `${speechS.toFixed(1)} s of speech`,
      gaps > 0 && `${gaps} ${gaps === 1 ? "gap" : "gaps"}, ${gapS.toFixed(2)} s`,
      interrupted && (playedS > 0 ? `interrupted after ${playedS.toFixed(1)} s` : "interrupted"),
      status === "incomplete" && "cut off at the longest answer",
      status === "failed" && "failed",
      status === "lost" && "connection lost",
    ].filter(Boolean);
  }
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function part(parent, className, who) {
  const box = element("section", className);
  const replay = element("button", "replay", "▶");
  replay.type = "button";
  replay.setAttribute("aria-label", className === "question" ? "Replay the question" : "Replay the answer");
  replay.hidden = true;
  const parts = { element: box, text: element("p", "text"), measured: element("p", "measured"), replay };
  box.append(element("p", "who", who), parts.text, parts.measured, replay);
  parent.append(box);
  return parts;
}
