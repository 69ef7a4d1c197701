// One message: what it says, what it is made of, and the dialogue that brought it.

import { ask, complain, dialogueLine, el, linked, size, time } from "./dom.js";

const SOURCE_OCTETS = 512 * 1024;

let kept = { number: 0, detail: null };

function addresses(paths) {
  return paths.length ? paths.map((path) => `<${path}>`).join(", ") : "nobody";
}

function facts(detail) {
  const { summary } = detail;
  const rows = [
    ["From", summary.from || "(no From field)"],
    ["Envelope", `<${summary.mail_from}> to ${addresses(summary.rcpt_to)}`],
    ["Received", time(summary.received, true)],
    ["Came by", `${summary.protocol} on port ${summary.port || "0 (playground)"}, from ${summary.client || "nowhere"}`
      + ` (${detail.hello_name || "no name"})${summary.username ? `, logged in as ${summary.username}` : ""}`],
  ];
  if (summary.to) rows.splice(1, 0, ["To", summary.to]);
  if (detail.directory) rows.push(["Maildir", detail.directory]);
  return el("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function text(detail) {
  if (!detail.text.trim()) return [el("p", { class: "nothing" }, "There is no text in this message.")];
  return [el("pre", { class: "text" }, ...linked(detail.text))];
}

function html(detail) {
  const { number } = detail.summary;
  const address = `/api/messages/${number}/html`;
  const note = el("p", { class: "notice", hidden: true });
  fetch(address, { method: "HEAD" }).then((response) => {
    const left = Number(response.headers.get("x-left-out") ?? 0);
    if (left > 0) {
      note.textContent = left === 1 ? "One picture from elsewhere was not loaded." : `${left} pictures from elsewhere were not loaded.`;
      note.hidden = false;
    }
  }).catch(complain);
  return [note, el("iframe", {
    class: "html", title: "The HTML of the message", src: address, referrerpolicy: "no-referrer",
    sandbox: "allow-popups allow-popups-to-escape-sandbox",
  })];
}

function headers(detail) {
  return [el("div", { class: "scroll" }, el("table", { class: "fields" },
    el("thead", { class: "hidden" }, el("tr", {}, el("th", { scope: "col" }, "Field"), el("th", { scope: "col" }, "Value"))),
    el("tbody", {}, ...detail.headers.map((field) => el("tr", {}, el("th", { scope: "row" }, field.name), el("td", {}, field.value))))))];
}

function parts(detail) {
  const { number } = detail.summary;
  const row = (part) => {
    const link = el("a", { href: `/api/messages/${number}/parts/${encodeURIComponent(part.path)}`, download: true },
      "Download", el("span", { class: "hidden" }, ` part ${part.path}`));
    const words = [part.charset, part.encoding, part.disposition, part.content_id].filter(Boolean).join(" · ");
    return el("tr", { class: `depth-${Math.min(5, part.path.split(".").length - 1)}` },
      el("th", { scope: "row" }, part.path),
      el("td", {}, el("strong", {}, part.media_type), part.filename ? el("span", { class: "filename" }, part.filename) : null,
        el("span", { class: "words" }, words)),
      el("td", { class: "number" }, size(part.size)),
      el("td", {}, link));
  };
  return [el("div", { class: "scroll" }, el("table", { class: "parts" },
    el("thead", {}, el("tr", {}, ...["Part", "Content", "Size", "File"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...detail.parts.map(row))))];
}

function source(detail) {
  const { number } = detail.summary;
  const address = `/api/messages/${number}/source`;
  const pre = el("pre", { class: "source", tabindex: "0", "aria-label": "Source" }, "…");
  const note = el("p", { class: "notice", hidden: true }, `Only the first ${size(SOURCE_OCTETS)} are shown.`);
  fetch(address).then((response) => response.arrayBuffer()).then((octets) => {
    pre.textContent = new TextDecoder().decode(octets.slice(0, SOURCE_OCTETS));
    note.hidden = octets.byteLength <= SOURCE_OCTETS;
  }).catch(complain);
  return [note, pre];
}

function dialogue(detail) {
  if (!detail.transcript.length) return [el("p", { class: "nothing" }, "The dialogue was not kept.")];
  return [el("ol", { class: "dialogue", "aria-label": "The SMTP dialogue, times in seconds" },
    ...detail.transcript.map((line) => dialogueLine(line.who, line.at_seconds, line.text)))];
}

const TABS = [
  ["text", "Text", text], ["html", "HTML", html], ["headers", "Headers", headers],
  ["parts", "Parts", parts], ["source", "Source", source], ["dialogue", "Dialogue", dialogue],
];

function tabs(detail, wanted) {
  const { number } = detail.summary;
  const there = TABS.filter(([name]) => name !== "html" || detail.html);
  const chosen = there.find(([name]) => name === wanted) ?? there[0];
  const panel = el("div", { class: "panel", role: "tabpanel", id: "panel", "aria-labelledby": `tab-${chosen[0]}`, tabindex: "-1" },
    ...chosen[2](detail));
  const bar = el("div", { class: "tabs", role: "tablist", "aria-label": "Ways to see the message" },
    ...there.map(([name, title]) => el("a", {
      role: "tab", id: `tab-${name}`, href: `#/messages/${number}/${name}`, "aria-controls": "panel",
      "aria-selected": name === chosen[0] ? "true" : "false", tabindex: name === chosen[0] ? "0" : "-1",
    }, title, name === "parts" ? el("span", { class: "badge" }, String(detail.parts.length)) : null)));
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    // The address changes at once, the view a moment later: keys may come faster than that.
    const now = location.hash.split("/")[3] || chosen[0];
    const at = there.findIndex(([name]) => name === now);
    if (step && at >= 0) {
      event.preventDefault();
      const [name] = there[(at + step + there.length) % there.length];
      location.hash = `#/messages/${number}/${name}`;
    }
  });
  return [bar, panel];
}

/** Put a message into an element. */
export async function showMessage(where, number, tab, { remove, still }) {
  if (kept.number !== number) kept = { number, detail: await ask("GET", `/api/messages/${number}`) };
  if (!still()) return;
  const { detail } = kept;
  const focused = document.activeElement?.getAttribute("role") === "tab";
  where.replaceChildren(
    el("div", { class: "reader-head" },
      el("a", { id: "back", class: "back", href: "#/messages" }, "← All messages"),
      el("div", { class: "title" },
        el("h1", { id: "subject", tabindex: "-1" }, detail.summary.subject || "(no subject)"),
        el("div", { class: "tools" },
          el("a", { class: "button quiet", href: `/api/messages/${number}/source`, download: true }, "Download"),
          el("button", { id: "delete", type: "button", class: "quiet danger", onclick: remove }, "Delete"))),
      facts(detail)),
    ...(detail.cut ? [el("p", { class: "notice" }, "Some of this message is too long to be shown. All of it is in the download.")] : []),
    ...tabs(detail, tab));
  const selected = where.querySelector('[role="tab"][aria-selected="true"]');
  selected.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (focused) selected.focus();
}
