/**
 * The connection: OpenAI's Realtime protocol over a WebSocket, found again when it is lost.
 *
 * https://platform.openai.com/docs/guides/realtime-websocket
 */

const RETRY_S = [0.5, 1, 2, 4, 8, 15]; // the last again and again
const POLICY = 1008; // close code (https://www.iana.org/assignments/websocket): the server ends idle and long sessions

/** A session with the server that this page came from. */
export class Session {
  /**
   * @param {object} told
   * @param {(event: object) => void} told.onEvent called with every event of the server
   * @param {(state: "connecting"|"open"|"lost"|"ended"|"token", words: string) => void} told.onState
   */
  constructor({ onEvent, onState }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.failures = 0;
    addEventListener("online", () => this.timer && this.#connect());
  }

  get isOpen() {
    return this.state === "open";
  }

  /** Connect, and stay connected. @param {string} [token] */
  open(token = "") {
    this.token = token;
    this.#connect();
  }

  /** Connect anew, now: the server forgets the conversation. */
  reopen() {
    this.failures = 0;
    this.#connect();
  }

  /** Send an event of the client; nothing happens without a connection. */
  send(event) {
    if (this.isOpen) this.socket.send(JSON.stringify(event));
  }

  #tell(state, words) {
    this.state = state;
    this.onState(state, words);
  }

  #connect() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.socket) this.socket.onclose = this.socket.onmessage = null;
    this.socket?.close();
    this.error = null; // the last that the server told
    this.wasOpen = false;
    this.#tell("connecting", "Connecting");
    try {
      this.socket = new WebSocket(address(), this.token ? ["realtime", `openai-insecure-api-key.${this.token}`] : []);
    } catch {
      this.#tell("token", "No browser can send this token: it has characters other than letters, digits and -._~");
      return;
    }
    this.socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    this.socket.onclose = (event) => this.#closed(event);
  }

  #hear(event) {
    if (event.type === "session.created") {
      this.failures = 0;
      this.wasOpen = true;
      this.#tell("open", "Connected");
    } else if (event.type === "error") {
      this.error = event.error;
      if (!this.wasOpen) return; // it is told when the connection closes
    }
    this.onEvent(event);
  }

  async #closed({ code }) {
    if (this.wasOpen && code === POLICY && this.error) return this.#tell("ended", sentence(this.error.message));
    const socket = this.socket;
    const waitS = RETRY_S[Math.min(this.failures++, RETRY_S.length - 1)];
    const [state, words] = await this.#cause();
    if (socket !== this.socket) return; // meanwhile it was connected anew
    if (state === "token") return this.#tell(state, words);
    this.#tell(state, `${words} Next try in ${waitS} s.`);
    this.timer = setTimeout(() => this.#connect(), waitS * 1000);
  }

  async #cause() {
    if (this.wasOpen) return ["lost", "Connection lost."];
    if (this.error) return ["lost", sentence(this.error.message)];
    try {
      // A browser does not tell why a WebSocket was refused; a request may be refused for the same reason.
      const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
      const response = await fetch(new URL("v1/models", document.baseURI), { headers });
      if (response.status === 401) return ["token", this.token ? "This is not the server's token." : ""];
      if (response.ok) return ["lost", "The server answers, but takes no conversation now."];
      return ["lost", sentence((await response.json()).error.message)];
    } catch {
      return ["lost", "The server does not answer."];
    }
  }
}

function address() {
  const url = new URL("v1/realtime", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

function sentence(words) {
  const begun = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
