/** The microphone: pieces of 24 kHz PCM with their level, and why there are none in words. */

/** A microphone that is on. */
export class Microphone {
  /**
   * @param {(pcm: Int16Array, levelDb: number) => void} onPiece called every 40 ms
   * @param {() => void} onEnd called if it is unplugged or its permission taken back
   * @throws {Error} with a message for the user
   */
  static async open(onPiece, onEnd) {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new Error(insecure("the microphone"));
    const microphone = new Microphone();
    try {
      microphone.stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The microphone cannot be opened: ${error.message}`);
    }
    microphone.context = new AudioContext(); // at the device's rate: Firefox takes no other for a microphone
    await microphone.context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    microphone.node = new AudioWorkletNode(microphone.context, "capture", { numberOfOutputs: 0 });
    microphone.node.port.onmessage = ({ data }) => onPiece(data.pcm, data.levelDb);
    microphone.context.createMediaStreamSource(microphone.stream).connect(microphone.node);
    microphone.stream.getAudioTracks()[0].onended = onEnd;
    await microphone.context.resume();
    return microphone;
  }

  /** Turn it off. */
  close() {
    this.node.port.onmessage = null;
    this.node.port.postMessage("stop");
    this.stream.getTracks().forEach((track) => track.stop());
    this.context.close();
  }
}

/** Why `what` cannot be had on this page, and what to do. */
export function insecure(what) {
  return (
    `Browsers allow ${what} only on https and on this machine itself. Open http://localhost:${location.port || 80}/` +
    ` here; for a server elsewhere, first run: ssh -L ${location.port || 80}:localhost:${location.port || 80} ${location.hostname}`
  );
}

const REASONS = {
  NotAllowedError:
    "The microphone is not allowed. Allow it for this page in the browser's address bar and press Talk again; typing and recordings work without it.",
  NotFoundError: "There is no microphone. Plug one in and press Talk again; typing and recordings work without it.",
  NotReadableError: "The microphone is in use by another program, or the system does not allow it.",
};
