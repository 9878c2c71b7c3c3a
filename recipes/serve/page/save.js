/** A conversation as files: WAV with the user on the left and the model on the right, and JSON. */

import { RATE_HZ, wavFile } from "./sound.js";

const PAUSE_SAMPLES = 0.4 * RATE_HZ; // between one sound and the next

/** One after the other. @returns {{pcm: Int16Array, start: number}[]} start in samples, null without sound */
function laidOut(exchanges) {
  let at = 0;
  return exchanges
    .flatMap((exchange) => [exchange.question.pcm ?? new Int16Array(), exchange.answerPcm])
    .map((pcm) => {
      if (!pcm.length) return { pcm, start: null };
      const start = at;
      at += pcm.length + PAUSE_SAMPLES;
      return { pcm, start };
    });
}

/** The sound of both sides, each alone. @returns {[Int16Array, Int16Array]} */
function sides(exchanges) {
  const sounds = laidOut(exchanges);
  const length = Math.max(0, ...sounds.map(({ pcm, start }) => (start ?? 0) + pcm.length));
  const channels = [new Int16Array(length), new Int16Array(length)];
  sounds.forEach(({ pcm, start }, n) => pcm.length && channels[n % 2].set(pcm, start));
  return channels;
}

/** All that was said, to be played. @returns {Int16Array} */
export function wholeSound(exchanges) {
  const [user, model] = sides(exchanges);
  return user.map((x, n) => x + model[n]); // only one of them speaks at a time
}

/** @returns {Blob} 16-bit WAV at 24 kHz, two channels */
export function soundFile(exchanges) {
  return wavFile(sides(exchanges));
}

/** @returns {Blob} JSON; `start_s` and `end_s` are places in the WAV */
export function textFile(exchanges, model) {
  const sounds = laidOut(exchanges);
  const place = ({ pcm, start }) =>
    start === null ? { start_s: null, end_s: null } : { start_s: start / RATE_HZ, end_s: (start + pcm.length) / RATE_HZ };
  const turns = exchanges.flatMap(({ question, answer }, n) => [
    { role: "user", how: question.how, text: question.text, ...place(sounds[2 * n]) },
    {
      role: "assistant",
      text: answer.text,
      status: answer.status,
      interrupted: answer.interrupted,
      ...place(sounds[2 * n + 1]),
      first_sound_s: answer.firstSoundS,
      played_s: answer.playedS,
      gaps: answer.gaps,
      gap_s: answer.gapS,
    },
  ]);
  const saved = { model, saved_at: new Date().toISOString(), turns };
  return new Blob([`${JSON.stringify(saved, null, 2)}\n`], { type: "application/json" });
}

/** Have the browser save a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
