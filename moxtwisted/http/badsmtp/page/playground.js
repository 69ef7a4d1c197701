// A dialogue with the server, typed by hand. Lines are said one after the other, each when the one before was answered.

import { ask, byId, complain, dialogueLine, el } from "./dom.js";

const log = byId("play-log");
const input = byId("play-input");

let session = "";
let position = 0;
let partial = null;       // the element of a reply line whose end did not come yet
let heard = "";           // what the server said since the client spoke
let waiting = [];         // lines that are still to be said
let saying = Promise.resolve();   // keeps what is said in its order
let opened = 0;
let latest = 0;           // the time of the line that was shown last

const LINES = 2000;

/** Octets, a character each, as text: UTF-8 where it is, and signs for what cannot be seen. */
function visible(octets) {
  const bytes = Uint8Array.from(octets, (character) => character.charCodeAt(0));
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    text = octets.replace(/[\x80-\xff]/g, (character) => `\\x${character.charCodeAt(0).toString(16)}`);
  }
  return text.replace(/[\u0000-\u001f\u007f]/g, (character) => {
    const code = character.charCodeAt(0);
    return String.fromCodePoint(code === 127 ? 0x2421 : 0x2400 + code);
  });
}

function add(element) {
  const stay = log.scrollHeight - log.scrollTop - log.clientHeight > 60;
  log.append(element);
  while (log.childElementCount > LINES) log.firstElementChild.remove();
  if (!stay) log.scrollTop = log.scrollHeight;
}

function hear(chunk) {
  heard += chunk.octets;
  latest = Math.max(latest, chunk.at_seconds);
  let rest = (partial?.dataset.octets ?? "") + chunk.octets;
  const at = partial ? Number(partial.dataset.at) : chunk.at_seconds;
  partial?.remove();
  partial = null;
  for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
    const bare = rest[end - 1] !== "\r";
    const line = rest.slice(0, bare ? end : end - 1);
    add(dialogueLine("S", at, visible(line) + (bare ? "␊ (no CR)" : "")));
    rest = rest.slice(end + 1);
  }
  if (rest) {
    partial = dialogueLine("S", at, visible(rest));
    partial.classList.add("partial");
    partial.dataset.octets = rest;
    partial.dataset.at = at;
    add(partial);
  }
}

function state(text, open) {
  byId("play-state").textContent = text;
  byId("play-state").dataset.open = open ? "yes" : "no";
  byId("play-close").hidden = !open;
  byId("play-open").textContent = open ? "Reconnect" : "Connect";
  byId("play-open").classList.toggle("quiet", open);
}

function over(reason) {
  session = "";
  waiting = [];
  partial = null;
  add(dialogueLine("*", null, reason));
  state("not connected", false);
}

async function follow(mine) {
  while (session === mine) {
    let played;
    try {
      played = await ask("GET", `/api/playground/${mine}?after=${position}&timeout=25`);
    } catch (error) {
      if (session === mine) over(error.message);
      return;
    }
    if (session !== mine) return;
    position = played.position;
    played.chunks.forEach(hear);
    if (played.closed) {
      over(played.reason);
      return;
    }
    goOn();
  }
}

/** The code of the reply that is complete, or 0: its last line has a space behind the code. */
function replied() {
  const lines = heard.split("\n").slice(0, -1);
  const last = lines.findLast((line) => /^\d{3}(?: |\r?$)/.test(line));
  return last ? Number(last.slice(0, 3)) : 0;
}

function goOn() {
  const code = replied();
  if (!waiting.length || !code) return;
  if (code >= 400) {
    // What is left is the reader's to decide on.
    input.value = waiting.join("\n");
    grow();
    waiting = [];
    return;
  }
  if (code === 354) {
    const end = waiting.indexOf(".");
    say(waiting.splice(0, end < 0 ? waiting.length : end + 1));
  } else {
    say(waiting.splice(0, 1));
  }
}

function say(lines) {
  heard = "";
  partial = null;
  const ends = { crlf: "\r\n", lf: "\n", none: "" }[byId("play-ends").value];
  const mine = session;
  // Our clock begins a little after the server's: no line is older than the one above it.
  latest = Math.max(latest, (performance.now() - opened) / 1000);
  for (const line of lines) add(dialogueLine("C", latest, line));
  const text = lines.map((line) => line + ends).join("");
  saying = saying.then(() => ask("POST", `/api/playground/${mine}`, { text })).catch((error) => {
    if (session === mine) complain(error);
  });
}

async function connect() {
  if (session) await hangUp();
  if (log.childElementCount) log.append(el("li", { class: "gap", role: "separator" }));
  const begun = await ask("POST", "/api/playground");
  session = begun.session;
  position = 0;
  heard = "";
  opened = performance.now();
  latest = 0;
  state("connected", true);
  add(dialogueLine("*", 0, "connected"));
  follow(session);
}

async function hangUp() {
  const mine = session;
  if (!mine) return;
  over("you hung up");
  await ask("DELETE", `/api/playground/${mine}`).catch(() => {});
}

async function send() {
  const lines = input.value.split("\n");
  input.value = "";
  grow();
  if (!session) {
    await connect();
    waiting = lines;
    return;
  }
  // A person may speak out of turn: only what follows waits for replies.
  waiting = lines.slice(1);
  say(lines.slice(0, 1));
}

function grow() {
  input.rows = Math.min(10, input.value.split("\n").length);
}

/** Put lines into the prompt. */
export function fill(lines) {
  input.value = lines.join("\n");
  grow();
  input.focus();
}

let prepared = false;

/** The view is shown. */
export async function showPlayground() {
  if (prepared) return;
  prepared = true;
  const { examples } = await ask("GET", "/api/ports");
  byId("examples").replaceChildren(...examples.map((example) =>
    el("button", { type: "button", class: "chip", onclick: () => fill(example.lines) }, example.title)));
}

byId("play-form").addEventListener("submit", (event) => {
  event.preventDefault();
  send().catch(complain);
});
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send().catch(complain);
  }
});
input.addEventListener("input", grow);
byId("play-open").addEventListener("click", () => connect().then(() => input.focus()).catch(complain));
byId("play-close").addEventListener("click", () => hangUp().catch(complain));
byId("play-clear").addEventListener("click", () => {
  log.replaceChildren();
  partial = null;
  input.focus();
});
addEventListener("pagehide", () => {
  if (session) fetch(`/api/playground/${session}`, { method: "DELETE", keepalive: true });
});
