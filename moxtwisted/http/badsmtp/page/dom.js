// What all views need: elements made of text alone, requests, words for times and sizes.

/** An element. Children are elements or text; nothing is ever parsed as HTML. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Ask the server. Errors have the server's own words. */
export async function ask(method, path, body) {
  const options = { method, headers: {}, cache: "no-store" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("The server does not answer."), { status: 0 });
  }
  if (response.ok) return response.json();
  let said = response.statusText;
  try {
    said = (await response.json()).detail;
  } catch {
    // not ours: the status has to do
  }
  throw Object.assign(new Error(said), { status: response.status });
}

let toastTimer = 0;

/** Show what went wrong, for a while. */
export function complain(error) {
  const toast = byId("toast");
  toast.textContent = error.message ?? String(error);
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 6000);
}

const sameDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const sameYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** A <time> in the reader's own zone and language. */
export function time(iso, full = false) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const text = full ? whole.format(at) : (today ? sameDay : sameYear).format(at);
  return el("time", { datetime: iso, title: whole.format(at) }, text);
}

export function size(octets) {
  if (octets < 1000) return `${octets} octets`;
  const units = ["kB", "MB", "GB"];
  let value = octets / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < 2) { value /= 1000; unit += 1; }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Ask a person, in a dialog. */
export function sure(question) {
  const dialog = byId("sure");
  byId("sure-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Text whose web addresses can be followed. */
export function linked(text) {
  const pieces = [];
  let end = 0;
  for (const found of text.matchAll(/\bhttps?:\/\/[^\s<>"'\u0000-\u001f]{1,2000}/g)) {
    const address = found[0].replace(/[).,;:!?\]]+$/, "");
    pieces.push(text.slice(end, found.index));
    pieces.push(el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address));
    end = found.index + address.length;
  }
  pieces.push(text.slice(end));
  return pieces;
}

/** A line of a dialogue. */
export function dialogueLine(who, seconds, text) {
  const reply = who === "S" ? (/^([2-5])\d\d/.exec(text) ?? [])[1] : undefined;
  const kinds = { C: ["client", "client says"], S: ["server", "server says"], "*": ["event", "event"] };
  const [kind, spoken] = kinds[who];
  return el("li", { class: `${kind}${reply ? ` reply-${reply}` : ""}` },
    el("span", { class: "at" }, seconds === null ? "" : seconds.toFixed(3)),
    el("span", { class: "who", "aria-label": spoken, role: "img" }, { C: "→", S: "←", "*": "·" }[who]),
    el("span", { class: "said" }, text === "" ? "\u00a0" : text));
}
