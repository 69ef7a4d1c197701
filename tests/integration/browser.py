"""Chromium without a window, by the protocol of its developer tools, over a pipe: no port, no driver, no other library.

::

    browser = Browser(reactor, directory)
    await browser.start()
    page = await browser.page()
    await page.go("http://127.0.0.1:25080/")
    await page.until("document.title.startsWith('Messages')")
    await page.evaluate("document.body.innerText")
    await browser.stop()

It has a profile of its own in the directory, resolves no name, and is not asked to talk to its maker.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.integration.peers import locate

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--metrics-recording-only",
    "--password-store=basic",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*",
    "--remote-debugging-pipe",
    "--window-size=1200,800",
)

#: How long a page may take for what it does at once on a machine with nothing else to do.
PATIENCE_SECONDS = 60


class BrowserError(Exception):
    """The browser, or a page in it, says that something failed."""


class Browser(ProcessProtocol):
    """One process.

    :ivar events: what it told of its own accord: session, method and parameters.
    """

    def __init__(self, reactor: Any, directory: Path) -> None:
        self._reactor = reactor
        self._directory = directory
        self._number = 0
        self._waiting: dict[int, Deferred[Any]] = {}
        self._buffer: list[bytes] = []
        self._gone: Deferred[None] = Deferred()
        self._errors: list[bytes] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    # -- the process ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        program = locate("chromium")
        if program is None:
            raise BrowserError("there is no chromium")
        home = self._directory / "profile"
        self._reactor.spawnProcess(
            self,
            program,
            [program, *FLAGS, f"--user-data-dir={home}", "about:blank"],
            env={"HOME": str(self._directory), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"},
            path=str(self._directory),
            childFDs={0: "w", 1: "r", 2: "r", 3: "w", 4: "r"},
        )
        await self.say("Browser.getVersion")
        await self.say("Target.setAutoAttach", autoAttach=True, flatten=True, waitForDebuggerOnStart=False)

    async def stop(self) -> None:
        """End it, and wait until it is gone."""
        if not self._gone.called:
            self.say("Browser.close").addErrback(lambda _: None)
            late = self._reactor.callLater(10, self._kill)
            await self._gone
            if late.active():
                late.cancel()

    def _kill(self) -> None:
        if self.transport is not None and self.transport.pid is not None:
            self.transport.signalProcess("KILL")

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """What it writes: messages end with NUL."""
        if childFD != 4:
            self._errors.append(data)
            return
        *complete, rest = data.split(b"\0")
        for end in complete:
            message = b"".join((*self._buffer, end))
            self._buffer = []
            self._received(json.loads(message))
        if rest:
            self._buffer.append(rest)

    def _received(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self.events.append((message.get("sessionId", ""), message["method"], message["params"]))
            return
        done = self._waiting.pop(message["id"], None)
        if done is not None:
            if "error" in message:
                done.errback(BrowserError(message["error"]["message"]))
            else:
                done.callback(message["result"])

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        waiting, self._waiting = self._waiting, {}
        said = b"".join(self._errors)[-2000:].decode("utf-8", "replace")
        for done in waiting.values():
            done.errback(BrowserError(f"the browser is gone ({reason.value}): {said}"))
        if not reason.check(ProcessDone) and not self._gone.called:
            self._errors.append(b"")
        self._gone.callback(None)

    # -- the protocol ----------------------------------------------------------------------------------------------------

    def say(self, method: str, session: str = "", **parameters: Any) -> Deferred[Any]:
        """Give an order; its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        done: Deferred[Any] = Deferred()
        self._waiting[self._number] = done
        transport: Any = self.transport
        transport.writeToChild(3, json.dumps(message).encode() + b"\0")
        return done

    async def page(self) -> Page:
        """A new page."""
        target = (await self.say("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.say("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.say(f"{domain}.enable")
        return page


class Page:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def say(self, method: str, **parameters: Any) -> Deferred[Any]:
        """Give an order about this page."""
        return self._browser.say(method, self._session, **parameters)

    async def go(self, address: str) -> None:
        """Go to an address."""
        result = await self.say("Page.navigate", url=address)
        if "errorText" in result:
            raise BrowserError(f"{address}: {result['errorText']}")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited when it is a promise.

        :raise BrowserError: it throws.
        """
        result = await self.say(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait for an expression of JavaScript to become true.

        :raise BrowserError: it does not, for a long time.
        """
        found = await self.evaluate(
            f"""new Promise((done) => {{
                const end = Date.now() + {PATIENCE_SECONDS * 1000};
                const look = () => {{
                    let found = false;
                    try {{ found = Boolean({condition}); }} catch {{ /* not yet */ }}
                    if (found || Date.now() > end) done(found); else setTimeout(look, 20);
                }};
                look();
            }})"""
        )
        if not found:
            seen = await self.evaluate("document.body.innerText.slice(0, 2000)")
            raise BrowserError(f"this did not become true: {condition}; the page says: {seen}")

    async def press(self, key: str, text: str = "") -> None:
        """Press a key, as ``Enter``, ``Tab``, ``ArrowDown``."""
        codes = {"Enter": 13, "Tab": 9, "ArrowDown": 40, "ArrowRight": 39, "Escape": 27}
        given = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        await self.say(
            "Input.dispatchKeyEvent", type="keyDown", **given, text="\r" if key == "Enter" else text
        )
        await self.say("Input.dispatchKeyEvent", type="keyUp", **given)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.say("Input.insertText", text=text)

    async def appear(self, *, dark: bool = False, width: int = 1200, height: int = 800) -> None:
        """Choose colours and size."""
        await self.say(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        await self.say(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def picture(self) -> bytes:
        """What it looks like, as PNG."""
        return base64.b64decode((await self.say("Page.captureScreenshot", format="png"))["data"])

    def _told(self, method: str) -> list[dict[str, Any]]:
        return [parameters for _, name, parameters in self._browser.events if name == method]

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings on the console, and exceptions that nobody caught."""
        logged = [entry["entry"] for entry in self._told("Log.entryAdded")]
        return [
            *(
                f"{entry['text']} {entry.get('url', '')}"
                for entry in logged
                if entry["level"] in {"error", "warning"}
            ),
            *(
                str(call["args"])
                for call in self._told("Runtime.consoleAPICalled")
                if call["type"] in {"error", "warning"}
            ),
            *(str(thrown["exceptionDetails"]) for thrown in self._told("Runtime.exceptionThrown")),
        ]

    @property
    def requests(self) -> list[str]:
        """All addresses that were asked for, by all pages and frames."""
        return [sent["request"]["url"] for sent in self._told("Network.requestWillBeSent")]
