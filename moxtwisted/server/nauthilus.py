"""Nauthilus as the authority on log-ins: a question is a POST of JSON, which it counts as an attempt as well.

::

    POST /api/v1/auth/json
    Authorization: Basic ...
    {"username": "alice@example.org", "password": "...", "client_ip": "192.0.2.1", "protocol": "imap", "method": "PLAIN", ...}

    200 {"ok": true, "account_field": "alice@example.org", "backend": 2, "attributes": {}}
    403 null                                    and a header Auth-Status: the log-in failed

Anything else is trouble: of the network, of its own (500), or of the configuration (401: it does not know us; 403 without
Auth-Status: we may not ask; 400: fields that it does not know). That is said in the log, without the password, and is
``Verdict.UNSURE``. While it does not answer it is left alone (``moxtwisted.server.fuse``), so that log-ins do not wait for it
one after the other.
"""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import msgspec
from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.server.authority import Answer, ILoginAuthority, LoginAttempt, Verdict
from moxtwisted.server.fuse import Fuse

__all__ = ["Nauthilus", "NauthilusSettings", "authorization"]

_log = Logger()

PATH: Final = "/api/v1/auth/json"
#: Octets of an answer; attributes of a user may be many.
_ANSWER_OCTETS: Final = 256 * 1024
_FIELD_CHARACTERS: Final = 1000
#: What it calls our services.
_PROTOCOLS: Final = {"submission": "smtp", "imap": "imap"}


def authorization(credentials: str) -> str:
    """The value of the header, for the contents of a file: ``name:password`` or a token alone.

    :raise ValueError: when it is neither.
    """
    text = credentials.strip()
    if not text or not text.isprintable() or " " in text:
        raise ValueError("name:password or a token expected, in one line")
    if ":" in text:
        # RFC 7617 section 2: the name has no colon.
        return "Basic " + base64.b64encode(text.encode()).decode()
    # RFC 6750 section 2.1
    return f"Bearer {text}"


@frozen(kw_only=True)
class NauthilusSettings:
    """Where it is and how it is asked.

    :ivar url: as ``https://nauthilus.example.org:9443``; the path of the endpoint is added.
    :ivar authorization: value of that header of HTTP, see ``authorization``; empty: none.
    :ivar seconds: for one question.
    :ivar at_once: questions at the same time; the next are not asked.
    """

    url: str
    authorization: str = field(default="", repr=False)
    seconds: float = 5.0
    at_once: int = 64


class _Success(msgspec.Struct):
    ok: bool = False
    account_field: str = ""


class _TroubleError(Exception):
    """It did not answer the question; in words."""


class _OddQuestionError(_TroubleError):
    """It does not take this question, which tells nothing of the next one: what is in it a client wrote."""


@implementer(ILoginAuthority)
@define(eq=False)
class Nauthilus:
    """Asks it.

    :ivar agent: an ``IAgent`` of ``twisted.web``; it keeps connections.
    :ivar fuse: leaves it alone while it does not answer.
    """

    settings: NauthilusSettings
    agent: Any
    clock: IReactorTime
    fuse: Fuse
    _asking: int = field(default=0, init=False)

    async def decide(self, attempt: LoginAttempt) -> Answer:
        """See ``ILoginAuthority``."""
        if self.fuse.blown:
            return Answer(Verdict.UNSURE, detail="nauthilus did not answer lately")
        if self._asking >= self.settings.at_once:
            return Answer(Verdict.UNSURE, detail="too many questions to nauthilus at once")
        if not attempt.username or not attempt.password:
            return Answer(Verdict.DENY, detail="no name or no password")
        try:
            question = _question(attempt)
        except UnicodeEncodeError:
            return Answer(Verdict.DENY, detail="not UTF-8")
        self._asking += 1
        try:
            answer = await self._ask(question)
        except _TroubleError as e:
            # Else three of them would keep everybody from logging in, or the authority from having its say.
            blown = not isinstance(e, _OddQuestionError) and self.fuse.failed()
            _log.warn(
                "nauthilus: {problem}{pause}",
                problem=str(e),
                pause=f"; not asked for {self.fuse.pause_seconds:g} s" if blown else "",
                session=attempt.origin.session,
            )
            return Answer(Verdict.UNSURE, detail=f"nauthilus: {e}")
        finally:
            self._asking -= 1
        self.fuse.worked()
        return answer

    async def told(self, attempt: LoginAttempt) -> None:
        """See ``ILoginAuthority``: the question is the report."""
        answer = await self.decide(attempt)
        if answer.verdict is Verdict.ALLOW:
            _log.warn(
                "nauthilus takes a password of {login} that is wrong here",
                login=attempt.username[:_FIELD_CHARACTERS],
                session=attempt.origin.session,
            )

    async def _ask(self, question: bytes) -> Answer:
        """:raises _TroubleError:"""
        from twisted.internet.error import ConnectError
        from twisted.web.client import RequestTransmissionFailed, ResponseFailed

        asking = Deferred.fromCoroutine(self._twice(question))
        try:
            return await asking.addTimeout(self.settings.seconds, self.clock)
        except TookTooLong:
            raise _TroubleError(f"no answer within {self.settings.seconds:g} s") from None
        except (ConnectError, ResponseFailed, RequestTransmissionFailed, OSError) as e:
            raise _TroubleError(f"cannot be reached: {_innermost(e)}") from None

    async def _twice(self, question: bytes) -> Answer:
        from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived

        try:
            return await self._post(question)
        except (RequestTransmissionFailed, ResponseNeverReceived) as e:
            if any(reason.check(CancelledError) for reason in e.reasons):
                raise CancelledError from None
            # A connection that was kept, and that it had closed meanwhile.
            return await self._post(question)

    async def _post(self, question: bytes) -> Answer:
        # Only those who have an authority need it.
        import treq
        from twisted.web.client import FileBodyProducer
        from twisted.web.http_headers import Headers

        headers = {
            "Content-Type": ["application/json"],
            "Accept": ["application/json"],
            "User-Agent": ["moxtwisted"],
        }
        if self.settings.authorization:
            headers["Authorization"] = [self.settings.authorization]
        url = self.settings.url.rstrip("/") + PATH
        response = await self.agent.request(
            b"POST", url.encode("ascii"), Headers(headers), FileBodyProducer(io.BytesIO(question))
        )
        pieces: list[bytes] = []
        size = 0

        def collect(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > _ANSWER_OCTETS:
                raise _TroubleError("its answer is too long")
            pieces.append(piece)

        await treq.collect(response, collect)
        status = response.headers.getRawHeaders("Auth-Status", [""])[0]
        return _understood(response.code, status, b"".join(pieces))


def _question(attempt: LoginAttempt) -> bytes:
    """Fields that it does not know are refused, and so are empty names; what is empty is left away.

    :raises UnicodeEncodeError: when name or password are no text.
    """
    origin = attempt.origin
    version, _, cipher = origin.tls.partition(" ")
    fields: dict[str, str | int] = {
        "username": attempt.username,
        "password": attempt.password,
        "client_ip": origin.ip,
        "external_session_id": origin.session,
        "user_agent": origin.user_agent[:_FIELD_CHARACTERS],
        "protocol": _PROTOCOLS.get(origin.protocol, origin.protocol),
        "method": attempt.mechanism,
        "ssl": "on" if origin.tls else "",
        "ssl_protocol": version,
        "ssl_cipher": cipher,
        "ssl_fingerprint": origin.fingerprint,
        "auth_login_attempt": attempt.number,
    }
    return msgspec.json.encode({name: value for name, value in fields.items() if value})


def _understood(code: int, status: str, octets: bytes) -> Answer:
    """:raises _TroubleError:"""
    said = "".join(c for c in status if " " <= c <= "~")[:200]
    if code == 200:
        try:
            success = msgspec.json.decode(octets, type=_Success)
        except msgspec.DecodeError as e:
            raise _TroubleError(f"its answer cannot be read: {e}") from None
        if not success.ok:
            raise _TroubleError(f"an answer that is neither yes nor no {said}".rstrip())
        return Answer(Verdict.ALLOW, success.account_field)
    if code == 403 and said:
        return Answer(Verdict.DENY, detail=said)
    hint = {
        400: "it does not know a field",
        401: "credentials_file is wrong",
        403: "we may not ask",
        404: "wrong url",
    }
    kind = _OddQuestionError if code == 400 else _TroubleError
    raise kind(f"it answers {code} {hint.get(code, said)}".rstrip())


def _innermost(error: BaseException) -> str:
    """What went wrong, where twisted.web packed it into a list."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return "; ".join(str(reason.value) for reason in reasons)
    return str(error) or type(error).__name__
