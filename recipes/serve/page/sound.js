/** Sound as the protocol takes it: 16-bit PCM, mono, 24 kHz, in base64; and as files. */

export const RATE_HZ = 24000;
const SCALE = 32768;

/** @param {Float32Array} samples @returns {Int16Array} */
export function toPcm16(samples) {
  return Int16Array.from(samples, (x) => Math.max(-SCALE, Math.min(SCALE - 1, Math.round(x * SCALE))));
}

/** @param {Int16Array} pcm @returns {Float32Array} */
export function toFloat(pcm) {
  return Float32Array.from(pcm, (x) => x / SCALE);
}

/** @param {Int16Array} pcm @returns {string} */
export function toBase64(pcm) {
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(text);
}

/** @param {string} text @returns {Int16Array} */
export function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer, 0, bytes.length >> 1);
}

/** @param {Int16Array[]} pieces @returns {Int16Array} */
export function joined(pieces) {
  const whole = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/**
 * Read a recording of any format that the browser knows.
 *
 * @param {ArrayBuffer} bytes
 * @returns {Promise<Int16Array>} mono
 * @throws {DOMException} EncodingError, if it is no recording
 */
export async function decodeRecording(bytes) {
  const decoded = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes);
  const mono = decoded.getChannelData(0);
  for (let channel = 1; channel < decoded.numberOfChannels; channel++) {
    decoded.getChannelData(channel).forEach((x, n) => (mono[n] += x));
  }
  return toPcm16(mono.map((x) => x / decoded.numberOfChannels));
}

/**
 * A WAV file.
 *
 * @param {Int16Array[]} channels of one length
 * @returns {Blob}
 */
export function wavFile(channels) {
  const count = channels.length;
  const samples = new Int16Array(channels[0].length * count);
  channels.forEach((channel, c) => channel.forEach((x, n) => (samples[n * count + c] = x)));
  const header = new DataView(new ArrayBuffer(44));
  const write = (at, text) => [...text].forEach((letter, n) => header.setUint8(at + n, letter.charCodeAt(0)));
  write(0, "RIFF");
  header.setUint32(4, 36 + samples.byteLength, true);
  write(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, count, true);
  header.setUint32(24, RATE_HZ, true);
  header.setUint32(28, RATE_HZ * count * 2, true);
  header.setUint16(32, count * 2, true);
  header.setUint16(34, 16, true);
  write(36, "data");
  header.setUint32(40, samples.byteLength, true);
  return new Blob([header, samples], { type: "audio/wav" });
}
