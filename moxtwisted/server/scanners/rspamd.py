"""Rspamd: a message is posted to its normal worker, its verdict is JSON; it learns at its controller.

::

    POST /checkv2          From:, Rcpt:, IP:, Helo:, Hostname:, Queue-ID:, MTA-Name:      and the message
    {"action": "add header", "score": 7.2, "required_score": 15.0, "symbols": {...}, "milter": {"add_headers": {...}}}

    POST /learnspam        Password:                                                     and the message
"""

from __future__ import annotations

import io
from typing import Any, Final, Literal

import msgspec
from attrs import define, field, frozen
from msgspec import field as structfield
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import FileBodyProducer, RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers

from moxtwisted.server.judgement.interfaces import Incoming, Opinion
from moxtwisted.server.scanners.asking import NotExaminedError, ScannerUnavailableError, safe_field
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.interfaces import IStagedMessage
from moxtwisted.transport.agent import in_time

__all__ = ["Rspamd", "RspamdSettings", "Verdict", "opinion_of"]

#: Octets of an answer, and header fields that it may add.
_ANSWER_OCTETS: Final = 1 << 20
_MAX_FIELDS: Final = 50
#: Symbols that the explanation names.
_SYMBOLS: Final = 8


@frozen(kw_only=True)
class RspamdSettings:
    """Where it is and how it is asked.

    :ivar url: of its normal worker, as ``http://127.0.0.1:11333``.
    :ivar controller_url: of its controller, where it learns; empty: it is not taught.
    :ivar password: of the controller.
    :ivar seconds: for one question.
    :ivar hostname: ours.
    :ivar greylist: whether its action "greylist" is a temporary refusal.
    :ivar message_octets: larger ones are not shown to it.
    """

    url: str
    controller_url: str = ""
    password: str = field(default="", repr=False)
    seconds: float = 20.0
    hostname: str = ""
    greylist: bool = False
    message_octets: int = 50 * 1024 * 1024


class _Symbol(msgspec.Struct):
    score: float = 0.0


class _Milter(msgspec.Struct):
    add_headers: dict[str, Any] = structfield(default_factory=dict)


class Verdict(msgspec.Struct):
    """What of its answer is looked at."""

    action: str = ""
    score: float = 0.0
    required_score: float = 0.0
    is_skipped: bool = False
    symbols: dict[str, _Symbol] = structfield(default_factory=dict)
    messages: dict[str, str] | list[str] = structfield(default_factory=dict)
    milter: _Milter = structfield(default_factory=_Milter)


class _Octets(io.RawIOBase):
    """A staged message as a file."""

    def __init__(self, staged: IStagedMessage) -> None:
        self._staged = staged
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._staged.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        octets = self._staged.read(self._at, self._staged.size if size < 0 else size)
        self._at += len(octets)
        return octets


@define(eq=False)
class Rspamd:
    """Asks an rspamd.

    :ivar agent: an ``IAgent`` of ``twisted.web``.
    """

    settings: RspamdSettings
    agent: Any
    clock: IReactorTime

    async def examine(self, incoming: Incoming) -> Opinion | None:
        """What it thinks. :raises ScannerUnavailableError:"""
        if incoming.staged.size > self.settings.message_octets:
            return None
        body = FileBodyProducer(_Octets(incoming.staged))
        answer = await self._post(self.settings.url, "/checkv2", self._headers(incoming), body)
        try:
            verdict = msgspec.json.decode(answer, type=Verdict)
        except msgspec.DecodeError as e:
            raise NotExaminedError(f"rspamd's answer cannot be read: {e}") from e
        return opinion_of(verdict, greylist=self.settings.greylist)

    async def learn(self, octets: bytes, kind: Literal["spam", "ham"]) -> None:
        """Teach it a message. :raises ScannerUnavailableError: when it does not take it."""
        headers = Headers({"Password": [self.settings.password]} if self.settings.password else {})
        body = FileBodyProducer(io.BytesIO(octets))
        await self._post(self.settings.controller_url, f"/learn{kind}", headers, body)

    def _headers(self, incoming: Incoming) -> Headers:
        verified = incoming.verified
        iprev = verified.iprev
        values = {
            "From": [_header(incoming.reverse_path.wire(smtputf8=True).strip(b"<>"))],
            "Rcpt": [_header(path.wire(smtputf8=True).strip(b"<>")) for path in incoming.recipients],
            "IP": [_header(str(verified.ip).encode())] if verified.ip is not None else [],
            "Helo": [_header(incoming.hello.encode("utf-8", "replace"))],
            "Hostname": [_header(iprev.name.encode())] if iprev is not None and iprev.name else [],
            "Queue-ID": [_header(incoming.session.encode())],
            "MTA-Name": [_header(self.settings.hostname.encode())],
            "MTA-Tag": [b"moxtwisted"],
        }
        return Headers({name.encode(): found for name, found in values.items() if found})

    async def _post(self, url: str, path: str, headers: Headers, body: FileBodyProducer) -> bytes:
        asking = Deferred.fromCoroutine(self._answer(url.rstrip("/") + path, headers, body))
        try:
            return await in_time(self.clock, asking, self.settings.seconds)
        except CancelledError:
            raise
        except TookTooLong:
            raise ScannerUnavailableError(
                f"rspamd gave no answer within {self.settings.seconds:g} s"
            ) from None
        except (ResponseFailed, RequestTransmissionFailed) as e:
            raise NotExaminedError(f"rspamd at {url} broke off: {e}") from e
        except (ConnectError, OSError) as e:
            raise ScannerUnavailableError(f"rspamd at {url} cannot be reached: {e}") from e

    async def _answer(self, url: str, headers: Headers, body: FileBodyProducer) -> bytes:
        # Only those who have an rspamd need it.
        import treq

        response = await self.agent.request(b"POST", url.encode("ascii"), headers, body)
        pieces: list[bytes] = []
        size = 0

        def collect(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > _ANSWER_OCTETS:
                raise NotExaminedError("rspamd's answer is too long")
            pieces.append(piece)

        await treq.collect(response, collect)
        octets = b"".join(pieces)
        if response.code != 200:
            raise NotExaminedError(f"rspamd answers {response.code}: {octets[:200]!r}")
        return octets


def _header(octets: bytes) -> bytes:
    """A value for a header of HTTP: what would end it goes."""
    return octets.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")[:1000]


def opinion_of(verdict: Verdict, *, greylist: bool) -> Opinion | None:
    """What its verdict means for a message."""
    # What it decides by a shortcut (its test pattern GTUBE) it calls skipped, too.
    if verdict.is_skipped and verdict.action in {"", "no action"}:
        return None
    heaviest = sorted(verdict.symbols.items(), key=lambda item: -abs(item[1].score))[:_SYMBOLS]
    named = ", ".join(f"{name} {symbol.score:g}" for name, symbol in heaviest if symbol.score)
    explanation = f"rspamd: {verdict.action}, {verdict.score:g} of {verdict.required_score:g}"
    text = verdict.messages.get("smtp_message", "") if isinstance(verdict.messages, dict) else ""
    return Opinion(
        source="rspamd",
        reply=_reply(verdict.action, text, greylist=greylist),
        junk=verdict.action in {"add header", "rewrite subject", "quarantine"},
        fields=_fields(verdict),
        explanation=f"{explanation} ({named})" if named else explanation,
        values={"action": verdict.action, "score": verdict.score},
    )


def _reply(action: str, text: str, *, greylist: bool) -> Reply | None:
    given = "".join(c for c in text if " " <= c <= "~")[:200]
    # RFC 3463 section 3.8: X.7.1, delivery not authorized, message refused. What it would throw away is refused: the sender is to know.
    if action in {"reject", "discard"}:
        return Reply(550, "5.7.1", given or "the message looks like spam")
    if action == "soft reject" or (action == "greylist" and greylist):
        return Reply(451, "4.7.1", given or "try again later")
    return None


def _fields(verdict: Verdict) -> bytes:
    fields = [
        safe_field(
            b"X-Rspamd-Score",
            f"{verdict.score:.2f} / {verdict.required_score:.2f} ({verdict.action})".encode(
                "ascii", "replace"
            ),
        )
    ]
    for name, given in list(verdict.milter.add_headers.items())[:_MAX_FIELDS]:
        for one in given if isinstance(given, list) else [given]:
            value = one.get("value") if isinstance(one, dict) else one
            if isinstance(value, str) and len(fields) < _MAX_FIELDS:
                fields.append(safe_field(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")))
    return b"".join(fields)
