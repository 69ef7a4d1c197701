"""The HTTP application of a BadSMTP server: pages for people, JSON for programs that test.

In a test, send, then wait for what must have come::

    GET /api/wait?to=bob@example.org&timeout=10      200 and the message, or 408
    DELETE /api/messages                             {"removed": 1}

All of it is described at ``/api/openapi.json``, by the declarations that stand here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any

import msgspec
from klein import Klein
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred  # noqa: A004  (Twisted's own name)
from twisted.internet.task import deferLater

import moxtwisted
from moxtwisted.badsmtp.interfaces import CapturedMessage, ICaptured
from moxtwisted.http.badsmtp.cleaning import POLICY, Cleaned, clean
from moxtwisted.http.badsmtp.playground import Playground
from moxtwisted.http.badsmtp.portlist import describe_ports
from moxtwisted.http.badsmtp.reading import Reader
from moxtwisted.http.badsmtp.shapes import (
    Chunk,
    Detail,
    JSONObject,
    MessagePage,
    MessagePath,
    MessageQuery,
    Opened,
    Page,
    PartPath,
    Played,
    PlayPath,
    PlayQuery,
    Ports,
    Removal,
    Removed,
    Summary,
    Typed,
    Wait,
)
from moxtwisted.http.support.api import API, Info, Operation
from moxtwisted.http.support.downloads import attach
from moxtwisted.http.support.events import EventStream, last_event
from moxtwisted.http.support.guard import allow
from moxtwisted.http.support.problems import ProblemError

__all__ = ["BadSMTPApplication"]

#: Requests that wait for messages, and streams of events, at the same time.
WAITING = 100
STREAMS = 40
#: How many events a browser that comes back is sent again.
REPEATED = 200
#: Messages that are looked at before others have their turn.
_SLICE = 50

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_GONE = {404: "There is no such message, or it is gone."}
_BUSY = {503: "Too many wait already."}
_OVER = {404: "There is no such dialogue."}


def _page_files() -> dict[str, tuple[str, bytes]]:
    """The files of the page, by their name, with their media types."""
    found = {}
    for file in files("moxtwisted.http.badsmtp").joinpath("page").iterdir():
        media_type = _MEDIA_TYPES.get(file.name[file.name.rfind(".") :])
        if media_type is not None:
            found[file.name] = (f"{media_type}; charset=utf-8", file.read_bytes())
    return found


class BadSMTPApplication:
    """The pages and the interface over one server.

    :ivar reader: reads the messages.
    """

    app = Klein()
    api = API(
        app,
        Info(
            "BadSMTP",
            moxtwisted.__version__,
            "The messages that a mail server for tests took in, what listens where, and a dialogue to play with.",
        ),
    )

    def __init__(
        self,
        captured: ICaptured,
        ports: Callable[[], Mapping[str, int]],
        address: str,
        playground: Playground | None,
        clock: Any,
        away: Callable[..., Any] = maybeDeferred,
    ) -> None:
        """:param away: calls a function with arguments, best away from the reactor; an awaitable of what it returns."""
        self._captured = captured
        self._ports = ports
        self._address = address
        self._playground = playground
        self._clock = clock
        self._away = away
        self._waiting = 0
        self._streams: set[EventStream] = set()
        self._files = _page_files()
        self.reader = Reader()

    # -- the page ---------------------------------------------------------------------------------------------------

    @app.route("/", methods=["GET"])
    def page(self, request: Any) -> bytes:
        """The page for people."""
        return self.file(request, "index.html")

    @app.route("/page/<name>", methods=["GET"])
    def file(self, request: Any, name: str) -> bytes:
        """What the page is made of."""
        found = self._files.get(name)
        if found is None:
            raise ProblemError(404, "there is no file of that name")
        allow(request, _PAGE_POLICY)
        request.setHeader("content-type", found[0])
        request.setHeader("cache-control", "no-cache")
        return found[1]

    @api.route("GET", "/api/openapi.json", Operation("This description", answer=JSONObject))
    def openapi(self, request: Any) -> dict[str, Any]:
        """The description of the interface."""
        return self.api.description()

    # -- messages ---------------------------------------------------------------------------------------------------

    @api.route(
        "GET", "/api/messages", Operation("Messages, the newest first", query=MessagePage, answer=Page)
    )
    async def messages(self, request: Any, query: MessagePage) -> Page:
        """Which messages there are."""
        wanted: list[Summary] = []
        total = 0
        narrow = bool(query.from_ or query.subject or query.search)
        words = query.search.casefold().split()
        found = self._captured.messages(query.to, query.after)
        async for message in self._in_turns(reversed(found)):
            if query.before and message.number >= query.before:
                continue
            if narrow and not self._matches(message, query, words):
                continue
            total += 1
            if len(wanted) < query.limit:
                wanted.append(self.reader.summary(message))
        return Page(wanted, total)

    async def _in_turns(self, messages: Iterable[CapturedMessage]) -> AsyncIterator[CapturedMessage]:
        """One after the other; others have their turn in between."""
        for count, message in enumerate(messages, 1):
            yield message
            if count % _SLICE == 0:
                await deferLater(self._clock, 0)

    def _matches(self, message: CapturedMessage, query: MessageQuery, words: Iterable[str] = ()) -> bool:
        summary = self.reader.summary(message)
        sender = f"{summary.mail_from}\n{summary.from_}".casefold()
        if query.from_.casefold() not in sender or query.subject.casefold() not in summary.subject.casefold():
            return False
        others = "\n".join((summary.to, *summary.rcpt_to, summary.subject, summary.preview)).casefold()
        return all(word in sender or word in others for word in words)

    @api.route(
        "DELETE",
        "/api/messages",
        Operation(
            "Delete messages",
            query=Removal,
            answer=Removed,
            description="Numbers go on: none is given again.",
        ),
    )
    def delete_messages(self, request: Any, query: Removal) -> Removed:
        """Forget all, or those of one recipient."""
        numbers = [message.number for message in self._captured.messages(query.to)]
        if query.to:
            numbers = [number for number in numbers if self._captured.remove(number)]
        else:
            self._captured.clear()
        self._tell_removed(numbers)
        return Removed(len(numbers))

    @api.route(
        "GET",
        "/api/messages/<number>",
        Operation("One message", path=MessagePath, answer=Detail, errors=_GONE),
    )
    def message(self, request: Any, path: MessagePath) -> Detail:
        """All of a message but its source."""
        return self.reader.detail(self._message(path.number))

    def _message(self, number: int) -> CapturedMessage:
        message = self._captured.message(number)
        if message is None:
            raise ProblemError(404, f"there is no message {number}, or it is gone")
        return message

    @api.route(
        "DELETE",
        "/api/messages/<number>",
        Operation("Delete a message", path=MessagePath, answer=Removed, errors=_GONE),
    )
    def delete_message(self, request: Any, path: MessagePath) -> Removed:
        """Forget one."""
        if not self._captured.remove(self._message(path.number).number):
            raise ProblemError(404, "it is gone")
        self._tell_removed([path.number])
        return Removed(1)

    @api.route(
        "GET",
        "/api/messages/<number>/source",
        Operation("The octets as they came", path=MessagePath, media_type="message/rfc822", errors=_GONE),
    )
    def source(self, request: Any, path: MessagePath) -> bytes:
        """The message itself."""
        message = self._message(path.number)
        attach(request, f"message-{message.number}.eml")
        return message.content

    @api.route(
        "GET",
        "/api/messages/<number>/html",
        Operation(
            "The HTML of a message, cleaned",
            path=MessagePath,
            media_type="text/html",
            errors={404: "There is no such message, or it has no HTML."},
            description="Without scripts, forms and anything from elsewhere. The HTML as it came is one of the parts.",
        ),
    )
    async def html(self, request: Any, path: MessagePath) -> bytes:
        """What a frame of the page shows."""
        found = self.reader.html(self._message(path.number))
        if found is None:
            raise ProblemError(404, f"message {path.number} has no HTML")
        allow(request, POLICY, framed=True)
        request.setHeader("content-type", "text/html; charset=utf-8")
        cleaned: Cleaned = await self._away(clean, *found)
        request.setHeader("x-left-out", str(cleaned.left_out))
        return cleaned.document.encode()

    @api.route(
        "GET",
        "/api/messages/<number>/parts/<part>",
        Operation(
            "The octets of a part, decoded",
            path=PartPath,
            media_type="application/octet-stream",
            errors={404: "There is no such message, or it has no such part."},
        ),
    )
    def part(self, request: Any, path: PartPath) -> bytes:
        """A file to keep, never to be shown in a browser by itself."""
        message = self._message(path.number)
        found = self.reader.part(message, path.part)
        if found is None:
            raise ProblemError(404, f"message {path.number} has no part {path.part}")
        attach(request, found.filename or f"message-{path.number}-part-{path.part}")
        return found.octets

    # -- waiting ----------------------------------------------------------------------------------------------------

    @api.route(
        "GET",
        "/api/wait",
        Operation(
            "Wait for a message",
            query=Wait,
            answer=Summary,
            errors={408: "No such message came in time.", **_BUSY},
            description="Answers at once when there is such a message already: the oldest of them. Give the number of the last one "
            "as `after` to wait for the next.",
        ),
    )
    async def wait(self, request: Any, query: Wait) -> Summary:
        """The first message that fits, now or later."""
        if self._waiting >= WAITING:
            raise ProblemError(503, f"{self._waiting} requests wait already", {"Retry-After": "5"})
        came: Deferred[CapturedMessage] = Deferred()

        def look(message: CapturedMessage) -> None:
            if not came.called and self._is_to(message, query) and self._matches(message, query):
                came.callback(message)

        self._waiting += 1
        # Before the first look: others have their turn during it, and what they bring would be missed.
        stop = self._captured.subscribe(look)
        try:
            async for message in self._in_turns(self._captured.messages(query.to, query.after)):
                if self._matches(message, query):
                    return self.reader.summary(message)
            return self.reader.summary(await came.addTimeout(query.timeout, self._clock))
        except TimeoutError:
            raise ProblemError(408, f"no such message came within {query.timeout:g} seconds") from None
        finally:
            stop()
            self._waiting -= 1

    @staticmethod
    def _is_to(message: CapturedMessage, query: MessageQuery) -> bool:
        wanted = query.to.casefold()
        paths = (path.casefold() for path in message.forward_paths)
        return message.number > query.after and (not wanted or wanted in paths)

    @api.route(
        "GET",
        "/api/events",
        Operation(
            "What happens, as server-sent events",
            media_type="text/event-stream",
            errors=_BUSY,
            description="`message` has a message as in lists, `removed` the `numbers` of those that were deleted.",
        ),
    )
    async def events(self, request: Any) -> bytes | None:
        """Messages as they come."""
        if request.method == b"HEAD":
            request.setHeader("content-type", "text/event-stream")
            return b""
        if len(self._streams) >= STREAMS:
            raise ProblemError(503, f"{len(self._streams)} streams are open already", {"Retry-After": "5"})
        stream = EventStream(request, self._clock)
        self._streams.add(stream)
        stop = self._captured.subscribe(lambda message: self._tell(stream, message))
        try:
            seen = last_event(request)
            if seen.isascii() and seen.isdecimal() and len(seen) < 17:
                for message in self._captured.messages(after=int(seen))[-REPEATED:]:
                    self._tell(stream, message)
            await stream.closed
        finally:
            stop()
            self._streams.discard(stream)
            stream.close()
        return None

    def _tell(self, stream: EventStream, message: CapturedMessage) -> None:
        summary = self.reader.summary(message)
        stream.send("message", msgspec.json.encode(summary), str(message.number))

    def _tell_removed(self, numbers: list[int]) -> None:
        data = msgspec.json.encode({"numbers": numbers})
        for stream in tuple(self._streams):
            stream.send("removed", data)

    # -- ports and the playground -----------------------------------------------------------------------------------

    @api.route("GET", "/api/ports", Operation("What listens where, and what goes wrong there", answer=Ports))
    def ports(self, request: Any) -> Ports:
        """The ports, and what a client can ask for."""
        return describe_ports(self._ports(), self._address)

    @api.route(
        "POST",
        "/api/playground",
        Operation("Begin a dialogue with the server, in memory", answer=Opened, status=201, errors=_BUSY),
    )
    def play(self, request: Any) -> Opened:
        """A new dialogue."""
        return Opened(self._played().open())

    def _played(self) -> Playground:
        if self._playground is None:
            raise ProblemError(503, "this server has no SMTP to play with")
        return self._playground

    @api.route(
        "POST",
        "/api/playground/<session>",
        Operation(
            "Say something in a dialogue",
            path=PlayPath,
            body=Typed,
            answer=Played,
            errors={**_OVER, 409: "The dialogue is over.", 413: "It has said enough."},
            description="The answer says how much the server said so far; ask for the rest.",
        ),
    )
    def say(self, request: Any, path: PlayPath, body: Typed) -> Played:
        """The client says something."""
        dialogue = self._played().dialogue(path.session)
        dialogue.say(body.text.encode("utf-8", "replace"))
        return self._heard(path.session, len(dialogue.chunks))

    @api.route(
        "GET",
        "/api/playground/<session>",
        Operation(
            "Wait for what the server says", path=PlayPath, query=PlayQuery, answer=Played, errors=_OVER
        ),
    )
    async def hear(self, request: Any, path: PlayPath, query: PlayQuery) -> Played:
        """The server says something, or time passes."""
        await self._played().dialogue(path.session).news(query.after, query.timeout)
        return self._heard(path.session, query.after)

    @api.route(
        "DELETE",
        "/api/playground/<session>",
        Operation("Hang up", path=PlayPath, answer=Played, errors=_OVER),
    )
    def hang_up(self, request: Any, path: PlayPath) -> Played:
        """The client is gone."""
        dialogue = self._played().dialogue(path.session)
        dialogue.hang_up()
        return self._heard(path.session, len(dialogue.chunks))

    def _heard(self, session: str, after: int) -> Played:
        dialogue = self._played().dialogue(session)
        chunks = [Chunk(at, octets.decode("latin-1")) for at, octets in dialogue.chunks[after:]]
        return Played(chunks, len(dialogue.chunks), dialogue.closed, dialogue.reason)
