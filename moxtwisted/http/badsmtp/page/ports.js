// What listens where, and how to ask for faults.

import { ask, byId, el } from "./dom.js";
import { fill } from "./playground.js";

function table(names, rows, label) {
  return el("div", { class: "scroll" }, el("table", { "aria-label": label },
    el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows)));
}

function trial(say) {
  if (!/^(MAIL|RCPT|EHLO) /.test(say)) return "";
  const lines = say.startsWith("EHLO") ? [say] : ["EHLO tester.example", say];
  if (say.startsWith("RCPT")) lines.splice(1, 0, "MAIL FROM:<alice@example.org>");
  return el("button", {
    type: "button", class: "small quiet",
    onclick: () => {
      location.hash = "#/playground";
      setTimeout(() => fill(lines));
    },
  }, "Try", el("span", { class: "hidden" }, ` ${say}`));
}

/** Put everything into the view. */
export async function showPorts() {
  const found = await ask("GET", "/api/ports");
  byId("ports-address").textContent = found.address;
  const ports = found.ports.map((port) => el("tr", {},
    el("th", { scope: "row", class: "number" }, String(port.port)),
    el("td", {}, el("code", {}, port.name)), el("td", {}, port.protocol), el("td", {}, port.does)));
  const kinds = [...new Set(found.wordings.map((wording) => wording.kind))];
  byId("ports-body").replaceChildren(
    el("h2", {}, "Ports"), table(["Port", "Name", "Protocol", "What it does"], ports, "Ports"),
    ...kinds.flatMap((kind) => [
      el("h2", {}, `Faults: ${kind}`),
      table(["Say", "What happens", ""], found.wordings.filter((wording) => wording.kind === kind).map((wording) =>
        el("tr", {}, el("td", {}, el("code", {}, wording.say)), el("td", {}, wording.does), el("td", { class: "end" }, trial(wording.say)))),
      kind),
    ]));
}
