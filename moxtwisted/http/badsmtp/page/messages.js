// The list of captured messages, which lives, and the message that is open.

import { ask, byId, complain, el, sure, time } from "./dom.js";
import { showMessage } from "./message.js";

const PAGE = 100;
const MOST = 1000;        // more are not kept by the page

let shown = [];           // summaries, the newest first
let total = 0;
let openNumber = 0;
let openTab = "";
let reading = 0;          // which request for a list was the last
let happened = 0;         // messages that came or went while the page is open

const list = byId("list");
const search = byId("search");

function item(summary) {
  const sender = summary.from || summary.mail_from || "nobody (empty reverse-path)";
  return el("li", {},
    el("a", { href: `#/messages/${summary.number}`, "data-number": summary.number,
              "aria-current": summary.number === openNumber ? "true" : null },
      el("span", { class: "sender" }, sender),
      time(summary.received),
      el("span", { class: "subject" }, summary.subject || "(no subject)"),
      el("span", { class: "to" }, "to ", summary.rcpt_to.slice(0, 3).join(", "),
        summary.rcpt_to.length > 3 ? ` and ${summary.rcpt_to.length - 3} more` : ""),
      summary.attachments ? el("span", { class: "clip", role: "img", "aria-label": "with attachments" }) : null,
      el("span", { class: "preview" }, summary.preview)));
}

function count() {
  const some = search.value.trim();
  const word = total === 1 ? "message" : "messages";
  byId("count").textContent = total ? `${total} ${word}${some ? " found" : ""}` : "";
  byId("older").hidden = shown.length >= total;
  byId("delete-all").disabled = total === 0;
  list.querySelector(".empty")?.remove();
  if (!shown.length) {
    list.append(el("li", { class: "empty" },
      el("p", {}, some ? "Nothing fits." : "No message was captured yet."),
      some ? null : el("p", {}, "Have your program send to one of the ",
        el("a", { href: "#/ports" }, "ports"), ", or write one in the ",
        el("a", { href: "#/playground" }, "playground"), ".")));
  }
}

/** Read the list anew. */
export async function reload() {
  reading += 1;
  const mine = reading;
  const before = happened;
  const found = await ask("GET", `/api/messages?limit=${PAGE}${query()}`);
  if (mine !== reading) return;
  // The answer may be older than what was told while it was on its way.
  if (before !== happened) soon();
  shown = found.messages;
  total = found.total;
  list.replaceChildren(...shown.map(item));
  count();
  if (!openNumber) welcome();
}

let pending = 0;

/** Read the list anew in a moment, once for all that happens until then. */
function soon() {
  pending ||= setTimeout(() => {
    pending = 0;
    reload().catch(complain);
  }, 200);
}

function query() {
  const words = search.value.trim();
  return words ? `&search=${encodeURIComponent(words)}` : "";
}

async function older() {
  const last = shown.at(-1).number;
  const found = await ask("GET", `/api/messages?limit=${PAGE}&before=${last}${query()}`);
  shown = [...shown, ...found.messages];
  list.append(...found.messages.map(item));
  total = shown.length - found.messages.length + found.total;
  count();
  list.querySelector(`[data-number="${found.messages[0]?.number}"]`)?.focus();
}

function came(summary) {
  happened += 1;
  if (shown.some((known) => known.number === summary.number)) return;
  if (search.value.trim() || shown.length >= MOST) {
    soon();
    return;
  }
  shown.unshift(summary);
  total += 1;
  const element = item(summary);
  element.classList.add("new");
  element.addEventListener("animationend", () => element.classList.remove("new"));
  list.prepend(element);
  count();
  byId("news").textContent = `New message from ${summary.from || summary.mail_from || "nobody"}: ${summary.subject || "no subject"}`;
}

function removed(numbers) {
  happened += 1;
  const gone = new Set(numbers);
  const before = shown.length;
  shown = shown.filter((summary) => !gone.has(summary.number));
  total = Math.max(shown.length, total - (before - shown.length));
  if (!shown.length) total = 0;
  for (const link of list.querySelectorAll("a[data-number]")) {
    if (gone.has(Number(link.dataset.number))) link.parentElement.remove();
  }
  count();
  if (gone.has(openNumber)) location.hash = "#/messages";
  else if (total > shown.length && shown.length < PAGE) reload().catch(complain);
}

function welcome() {
  byId("reader").replaceChildren(el("div", { class: "nothing" },
    el("p", {}, shown.length ? "Choose a message." : "Messages appear here as they come.")));
}

async function remove() {
  const number = openNumber;
  const at = shown.findIndex((summary) => summary.number === number);
  await ask("DELETE", `/api/messages/${number}`);
  const next = shown[at + 1] ?? shown[at - 1];
  removed([number]);
  if (next) location.hash = `#/messages/${next.number}`;
  const link = next ? list.querySelector(`[data-number="${next.number}"]`) : search;
  link?.focus();
}

async function removeAll() {
  const question = search.value.trim() ? "Delete all messages, not only those that were found?" : `Delete all messages? ${total} will be gone.`;
  if (!(await sure(question))) return;
  await ask("DELETE", "/api/messages");
  removed(shown.map((summary) => summary.number));
}

/** Show a message, or none (number 0), with one of its tabs. */
export async function open(number, tab) {
  byId("messages").classList.toggle("reading", number > 0);
  for (const link of list.querySelectorAll("a[data-number]")) {
    if (Number(link.dataset.number) === number) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (number === openNumber && tab === openTab && number) return;
  const other = number !== openNumber;
  openNumber = number;
  openTab = tab;
  if (!number) {
    welcome();
    return;
  }
  try {
    await showMessage(byId("reader"), number, tab, { remove: () => remove().catch(complain), still: () => openNumber === number });
    if (other && getComputedStyle(byId("back") ?? document.body).display !== "none") byId("subject")?.focus();
  } catch (error) {
    if (openNumber !== number) return;
    byId("reader").replaceChildren(el("div", { class: "nothing" },
      el("p", {}, error.status === 404 ? "This message is gone." : error.message),
      el("p", {}, el("a", { href: "#/messages" }, "All messages"))));
  }
}

/** Be told of messages from now on. */
export function listen() {
  const live = byId("live");
  const say = (state, text) => {
    live.dataset.state = state;
    byId("live-text").textContent = text;
  };
  const events = new EventSource("/api/events");
  events.addEventListener("open", () => {
    say("on", "live");
    reload().catch(complain);
  });
  events.addEventListener("error", () => say("off", "not connected"));
  events.addEventListener("message", (event) => came(JSON.parse(event.data)));
  events.addEventListener("removed", (event) => removed(JSON.parse(event.data).numbers));
  addEventListener("pagehide", () => events.close());
}

search.addEventListener("input", soon);
byId("older").addEventListener("click", () => older().catch(complain));
byId("delete-all").addEventListener("click", () => removeAll().catch(complain));
list.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const links = [...list.querySelectorAll("a[data-number]")];
  const at = links.indexOf(document.activeElement);
  const next = links[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (at >= 0 && next) {
    event.preventDefault();
    next.focus();
  }
});

