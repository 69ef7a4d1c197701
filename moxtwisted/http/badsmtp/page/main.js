// Which view is shown says the address: #/messages, #/messages/7/html, #/playground, #/ports.

import { byId, complain } from "./dom.js";
import { listen, open } from "./messages.js";
import { showPlayground } from "./playground.js";
import { showPorts } from "./ports.js";

const TITLES = { messages: "Messages", playground: "Playground", ports: "Ports and faults" };

function route() {
  const [, view = "messages", number = "0", tab = ""] = location.hash.split("/");
  const name = view in TITLES ? view : "messages";
  const changed = byId(name).hidden;
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[name]} – BadSMTP`;
  if (name === "messages") open(/^\d{1,16}$/.test(number) ? Number(number) : 0, tab).catch(complain);
  if (name === "playground") showPlayground().catch(complain);
  if (name === "ports") showPorts().catch(complain);
  if (changed && location.hash && name !== "messages") byId(name).querySelector("h1").focus({ preventScroll: true });
  if (changed) scrollTo(0, 0);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", route);
route();
listen();
