// What listens where, and how to ask for faults.

import { ask, byId, el } from "./dom.js";
import { fill } from "./playground.js";

function table(names, rows, label) {
  return el("div", { class: "scroll" }, el("table", { "aria-label": label },
    el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col", class: name.toLowerCase() }, name)))),
    el("tbody", {}, ...rows)));
}

const MESSAGE = ["Subject: a trial", "", "Hello.", "."];

/** What has to be said around a wish, so that it comes true. */
function around(say) {
  if (say.startsWith("EHLO")) return [say, "MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.org>"];
  const wish = /^\w+ \w+:<([a-z]+)/.exec(say)?.[1];
  const begin = say.startsWith("RCPT") ? ["EHLO tester.example", "MAIL FROM:<alice@example.org>", say] : ["EHLO tester.example", say];
  const then = {
    data: ["RCPT TO:<bob@example.org>", "DATA"], dend: ["RCPT TO:<bob@example.org>", "DATA", ...MESSAGE],
    bdat: ["RCPT TO:<bob@example.org>", "BDAT 0 LAST"], rset: ["RSET"], quit: ["QUIT"], noop: ["NOOP"],
    auth: ["RSET", "AUTH PLAIN AGEAYg=="],
  };
  return [...begin, ...(then[wish] ?? [])];
}

function trial(say) {
  // TLS is not played.
  if (!/^(MAIL|RCPT|EHLO) /.test(say) || say.includes("<starttls")) return "";
  return el("button", {
    type: "button", class: "small quiet",
    onclick: () => {
      location.hash = "#/playground";
      setTimeout(() => fill(around(say)));
    },
  }, "Try", el("span", { class: "hidden" }, ` ${say}`));
}

/** Put everything into the view. */
export async function showPorts() {
  const found = await ask("GET", "/api/ports");
  byId("ports-address").textContent = found.address;
  const ports = found.ports.map((port) => el("tr", {},
    el("th", { scope: "row", class: "number" }, String(port.port)),
    el("td", {}, el("code", {}, port.name)), el("td", { class: "protocol" }, port.protocol), el("td", {}, port.does)));
  const kinds = [...new Set(found.wordings.map((wording) => wording.kind))];
  const sections = [
    [el("h2", { tabindex: "-1" }, "Ports"), table(["Port", "Name", "Protocol", "What it does"], ports, "Ports")],
    ...kinds.map((kind) => [
      el("h2", { tabindex: "-1" }, `Faults ${kind}`),
      table(["Say", "What happens", ""], found.wordings.filter((wording) => wording.kind === kind).map((wording) =>
        el("tr", {}, el("td", { class: "say" }, el("code", {}, wording.say)), el("td", {}, wording.does), el("td", { class: "end" }, trial(wording.say)))),
      kind),
    ]),
  ];
  const jumps = sections.map(([heading]) => el("button", {
    type: "button", class: "chip",
    onclick: () => {
      heading.focus({ preventScroll: true });
      heading.scrollIntoView({ block: "start" });
    },
  }, heading.textContent));
  byId("ports-body").replaceChildren(el("div", { class: "examples", role: "group", "aria-label": "Sections" }, ...jumps), ...sections.flat());
}
