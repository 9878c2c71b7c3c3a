/** The page: what its controls do, and what it shows. */

import { Dialogue } from "./dialogue.js";
import { Microphone, insecure } from "./microphone.js";
import { Player } from "./player.js";
import { download, soundFile, textFile, wholeSound } from "./save.js";
import { Session } from "./session.js";
import { RATE_HZ, decodeRecording } from "./sound.js";

const TURNS = {
  idle: "Your turn: press Talk, type, or choose a file",
  listening: "Your turn: speak",
  hearing: "Listening to you",
  thinking: "The model is thinking",
  speaking: "The model is speaking",
};
const LONGEST_QUESTION_S = 30; // Whisper's window
const LARGEST_FILE_MIB = 100;
const QUIETEST_DB = -60;
const TOKEN = "anytalk.token"; // kept for this tab only

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const session = new Session({ onEvent: (event) => dialogue.handle(event), onState: showConnection });
const player = new Player({
  onStarted: (id, latencyS) => dialogue.started(id, latencyS),
  onProgress: (id, counters) => dialogue.played(id, counters),
  onDone: (id, counters) => dialogue.played(id, counters),
});
const dialogue = new Dialogue(session, player, { onChange: showTurn, onExchange: showExchange, onTrouble: complain });
let microphone = null;
let opening = false;
let following = true; // the end of the conversation, as it grows

// What is shown

function complain(words) {
  at.trouble.hidden = false;
  at.trouble.querySelector("p").textContent = words;
}

function dismiss() {
  at.trouble.hidden = true;
  at.trouble.querySelector("p").textContent = "";
}

function showConnection(state, words) {
  at.connection.textContent = { open: "Connected", connecting: "Connecting", token: "Needs a token" }[state] ?? "Not connected";
  const wasOpen = document.body.dataset.connection === "open";
  document.body.dataset.connection = state;
  at["token-form"].hidden = state !== "token";
  at.connect.hidden = state !== "lost" && state !== "ended";
  if (state === "token") at.token.focus();
  if (state === "open") {
    dismiss();
    if (dialogue.exchanges.length) complain("Connected again. The model has forgotten what was said before.");
    else if (!Player.possible) complain(insecure("sound and the microphone"));
    dialogue.begin();
  } else if (state !== "connecting") {
    if (wasOpen) dialogue.lose();
    if (words) complain(words);
  }
  showTurn();
}

function showTurn() {
  const { turn } = dialogue;
  const isOpen = session.isOpen;
  const words = isOpen ? TURNS[turn] : "Not connected";
  if (at.turn.textContent !== words) at.turn.textContent = words; // or a screen reader says it again
  document.body.dataset.microphone = microphone ? "on" : "off";
  document.body.dataset.turn = isOpen ? turn : "none";
  at.model.textContent = dialogue.model;
  for (const id of ["talk", "send", "choose"]) at[id].disabled = !isOpen;
  at.talk.querySelector("span").textContent = microphone ? "Mute" : "Talk";
  at.stop.disabled = player.id === null && turn !== "thinking";
  const empty = !dialogue.exchanges.length;
  const mute = !dialogue.exchanges.some((exchange) => exchange.soundS);
  for (const id of ["replay", "save-sound"]) at[id].disabled = mute || turn === "thinking";
  for (const id of ["save-text", "renew"]) at[id].disabled = empty;
  at.empty.hidden = !empty;
  if (following) at.log.scrollTop = at.log.scrollHeight;
}

function followOrNot() {
  following = at.log.scrollHeight - at.log.scrollTop - at.log.clientHeight < 80;
}

function showExchange(exchange) {
  exchange.replayWith((pcm) => replay(pcm));
  at.log.append(exchange.element);
  following = true;
}

function showLevel(levelDb) {
  const db = Math.max(QUIETEST_DB, Math.min(0, levelDb));
  for (const id of ["level", "talk"]) at[id].style.setProperty("--level", 1 - db / QUIETEST_DB);
  at.level.setAttribute("aria-valuenow", Math.round(db));
}

// What is done

async function talk() {
  if (opening) return;
  if (microphone) return hangUp();
  opening = true;
  try {
    await player.open();
    microphone = await Microphone.open(hear, () => {
      hangUp();
      complain("The microphone is gone: it was unplugged, or its permission was taken back.");
    });
    dismiss();
    dialogue.listen();
  } catch (error) {
    complain(error.message);
  } finally {
    opening = false;
  }
}

function hear(pcm, levelDb) {
  dialogue.hear(pcm);
  showLevel(levelDb);
}

function hangUp() {
  microphone.close();
  microphone = null;
  showLevel(QUIETEST_DB);
  dialogue.stopListening();
}

async function write(event) {
  event.preventDefault();
  const text = at.text.value.trim();
  if (!text || !session.isOpen) return;
  at.text.value = "";
  await player.open();
  dialogue.write(text);
}

async function choose() {
  const [file] = at.file.files;
  at.file.value = ""; // or the same file could not be chosen again
  if (!file) return;
  await player.open();
  const pcm = await recordingOf(file);
  if (pcm && session.isOpen) dialogue.play(pcm);
}

async function recordingOf(file) {
  if (file.size > LARGEST_FILE_MIB * 2 ** 20) {
    complain(`${file.name} has ${Math.ceil(file.size / 2 ** 20)} MiB; the most is ${LARGEST_FILE_MIB}.`);
    return null;
  }
  try {
    const pcm = await decodeRecording(await file.arrayBuffer());
    if (pcm.length <= LONGEST_QUESTION_S * RATE_HZ) return pcm;
    complain(`${file.name} is ${Math.ceil(pcm.length / RATE_HZ)} s long; a question has at most ${LONGEST_QUESTION_S} s.`);
  } catch {
    complain(`${file.name} is no recording that this browser can read; WAV, MP3 and FLAC work everywhere.`);
  }
  return null;
}

async function replay(pcm) {
  await player.open();
  dialogue.interrupt();
  player.play("replay", pcm);
  showTurn();
}

function stop() {
  dialogue.interrupt();
}

function save(file, extension) {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  download(file, `conversation-${stamp}.${extension}`);
}

function renew() {
  dialogue.lose();
  dialogue.exchanges.forEach((exchange) => exchange.element.remove());
  dialogue.exchanges = [];
  session.reopen();
}

function key(event) {
  if (event.key === "Escape") stop();
  const elsewhere = event.target === document.body || event.target === at.log;
  if (event.key === " " && elsewhere && !event.repeat && session.isOpen) {
    event.preventDefault(); // or the page scrolls
    talk();
  }
}

function useToken(event) {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at.token.value);
  dismiss();
  session.open(at.token.value);
}

at.talk.onclick = talk;
at.write.onsubmit = write;
at.choose.onclick = () => {
  player.open(); // now, while it is a click
  at.file.click();
};
at.file.onchange = choose;
at.stop.onclick = stop;
at.replay.onclick = () => replay(wholeSound(dialogue.exchanges));
at["save-sound"].onclick = () => save(soundFile(dialogue.exchanges), "wav");
at["save-text"].onclick = () => save(textFile(dialogue.exchanges, dialogue.model), "json");
at.renew.onclick = renew;
at.dismiss.onclick = dismiss;
at.connect.onclick = () => session.reopen();
at["token-form"].onsubmit = useToken;
at.log.onscroll = followOrNot;
document.onkeydown = key;
session.open(sessionStorage.getItem(TOKEN) ?? "");
