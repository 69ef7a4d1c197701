"""Logs: one line per event, for people or as JSON, with a level for each part of the program.

Everything in the program logs through ``twisted.logger`` with a constant format and named fields::

    log = Logger()
    log.info("delivered to {account}", account="mjl", session="c7f3", queue_id=12)

and this module writes it::

    levels = LevelControl("info", {"moxtwisted.smtp": "debug"})
    output = LogFile(None)                              # stderr; or a path, with reopen() for log rotation
    begin_logging(LineObserver(output, levels, form="human"))
    levels.set("moxtwisted.imap", "debug")              # at any time

    2026-11-21T23:26:16.123Z info moxtwisted.server.inbound delivered to mjl session=c7f3 queue_id=12
    {"time":"2026-11-21T23:26:16.123Z","level":"info","package":"moxtwisted.server.inbound","message":"delivered to mjl",
     "account":"mjl","session":"c7f3","queue_id":12}

A field whose name says that it is a secret is written as ``[redacted]``, also inside the message. Control
characters are escaped, so what a peer sends can neither begin a new line nor talk to a terminal.
"""

from __future__ import annotations

import codecs
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import ConfigurationError

__all__ = [
    "DEFAULT_PACKAGES",
    "FIELDS",
    "LEVELS",
    "LEVEL_RANKS",
    "MAX_FAILURE_CHARACTERS",
    "MAX_VALUE_CHARACTERS",
    "EventText",
    "FailureCounter",
    "LevelControl",
    "LineObserver",
    "LogFile",
    "begin_logging",
    "is_field",
]

LEVELS = ("debug", "info", "warn", "error", "critical")
"""Names of levels, the least severe first; those of ``twisted.logger``."""

DEFAULT_PACKAGES: Mapping[str, str] = {"twisted": "warn", "log_legacy": "warn"}
"""Levels unless others are given: Twisted tells of each factory that starts and stops."""

FIELDS: Mapping[str, str] = {
    "account": "name of the account",
    "arc": "result of ARC, one word",
    "attempt": "number of the delivery attempt",
    "command": "protocol command",
    "count": "how many",
    "decision": "accepted or refused",
    "detail": "what exactly, for operators",
    "dkim": "result of DKIM, one word: the best of all signatures",
    "dmarc": "result of DMARC, one word",
    "domain": "domain in A-labels",
    "enhanced_code": "RFC 3463 code that was answered",
    "explanation": "why it was decided so, in words",
    "file": "path of a file",
    "hello": "name in EHLO, as it came",
    "iprev": "result of iprev, one word",
    "keeper": "number of the process that served IMAP, where it is one of its own",
    "listener": "name of the listener in mox.conf",
    "login": "name that somebody logs in with, as typed",
    "mailbox": "name of the mailbox",
    "mechanism": "SASL mechanism",
    "message_id": "Message-ID field of the message",
    "ours": "result here, where somebody else's is another",
    "peer": "IP address of the peer",
    "problem": "what is wrong, in words",
    "protocol": "smtp, submission, lmtp, imap ...",
    "queue_id": "number of the message in the queue",
    "reason": "word for why it was decided so",
    "receiver": "number of the process that took in mail, where it is one of its own",
    "recipient": "forward-path",
    "records": "texts of DNS records",
    "reply_code": "SMTP code that was answered",
    "result": "outcome in one word",
    "second_opinion": "method (spf, dkim) about which another library thinks otherwise",
    "seconds": "how long it took",
    "sender": "reverse-path",
    "session": "name of the connection; the same in all its lines",
    "size_octets": "octets of the message",
    "spf": "result of SPF for MAIL FROM, one word",
    "theirs": "result of somebody else",
    "tls": "TLS version and cipher suite",
    "uid": "UID of the message",
    "user_agent": "what the client says that it is",
}
"""The field names in use; a new one is entered here, so that the same thing has the same name everywhere."""

MAX_VALUE_CHARACTERS = 2000
MAX_FAILURE_CHARACTERS = 20_000
MAX_COUNTED = 200
REDACTED = "[redacted]"

_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|authorization|private_?key|cookie|api_?key", re.IGNORECASE
)
# what Twisted puts into events by itself, beside names that begin with log_
_TWISTED = frozenset(
    {"isError", "failure", "why", "time", "system", "message", "format", "printed", "logLevel", "level"}
)
# what MessagePack can say, and JSON for other programs
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
# two braces are one of the text
_NAMES = re.compile(r"(?<!\{)(?:\{\{)*\{([A-Za-z_][A-Za-z0-9_]*)")
# DEL, C1 control characters, line and paragraph separators, which JSON leaves as they are
_RISKY_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAX_CACHED = 4096


def _rank(level: str) -> int:
    try:
        return LEVELS.index(level)
    except ValueError:
        raise ConfigurationError((f"no log level {level!r}; there are {', '.join(LEVELS)}",)) from None


LEVEL_RANKS: Mapping[Any, int] = {LogLevel.lookupByName(name): rank for rank, name in enumerate(LEVELS)}
"""The rank in ``LEVELS`` of each level of ``twisted.logger``."""


class LevelControl:
    """From which level on events are written, for each Python package; may be changed at any time.

    :param default: level of packages for which nothing else is said.
    :param packages: levels by package, ``moxtwisted.smtp`` for all below it; the longest name counts.
    :ivar changed: called after each change.
    :raise ConfigurationError: for a level that is none.
    """

    def __init__(self, default: str = "info", packages: Mapping[str, str] | None = None) -> None:
        self._levels: dict[str, int] = {"": _rank(default)}
        for package, level in {**DEFAULT_PACKAGES, **(packages or {})}.items():
            self._levels[package] = _rank(level)
        self._known: dict[str, int] = {}
        self.changed: list[Callable[[], object]] = []

    def set(self, package: str, level: str) -> None:
        """Change the level of a package; ``""`` is the default.

        :raise ConfigurationError: for a level that is none.
        """
        self._levels[package] = _rank(level)
        self._tell()

    def unset(self, package: str) -> None:
        """Let a package follow the one above it again; the default stays."""
        if package:
            self._levels.pop(package, None)
            self._tell()

    def replace(self, levels: Mapping[str, str]) -> None:
        """Take over all levels of another one, as its ``list`` told them; nothing stays of those before.

        :raise ConfigurationError: for a level that is none, or when there is no default; all stay as they were.
        """
        ranks = {package: _rank(level) for package, level in levels.items()}
        if "" not in ranks:
            raise ConfigurationError(("log levels without a default",))
        self._levels = ranks
        self._tell()

    def _tell(self) -> None:
        self._known.clear()
        for listener in tuple(self.changed):
            listener()

    def list(self) -> dict[str, str]:
        """All levels by package, the default (``""``) first."""
        return {package: LEVELS[rank] for package, rank in sorted(self._levels.items())}

    def threshold(self, namespace: str) -> int:
        """The rank in ``LEVELS`` from which on events of a logger are written."""
        rank = self._known.get(namespace)
        if rank is None:
            name = namespace
            while name not in self._levels:
                name = name.rpartition(".")[0]
            rank = self._levels[name]
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            self._known[namespace] = rank
        return rank

    def enabled(self, namespace: str, level: str) -> bool:
        """Whether an event would be written; for callers that must do work to log something."""
        return LEVELS.index(level) >= self.threshold(namespace)


class LineSink(Protocol):
    """Where lines can be written."""

    def write(self, line: bytes, /) -> object:
        """Take one line."""


class LogFile:
    """Where lines go, each by one ``write`` to the operating system, so that nothing is lost when we die.

    :param path: the file, appended to, made with mode 0640; ``None`` = ``descriptor`` is used.
    :param descriptor: an open one, 2 is stderr.
    :ivar dropped: lines that could not be written (full disk, closed pipe); nobody else would hear of it.
    :raise ConfigurationError: when the file cannot be opened.
    """

    def __init__(self, path: str | None, *, descriptor: int = 2) -> None:
        self._path = path
        self._descriptor = descriptor if path is None else self._open(path)
        self.dropped = 0

    @staticmethod
    def _open(path: str) -> int:
        try:
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as e:
            raise ConfigurationError((f"{path}: log file cannot be opened: {e.strerror}",)) from None

    def write(self, line: bytes) -> None:
        """Write a line with its line end; never raises."""
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            self.dropped += 1

    def reopen(self) -> None:
        """Open the path anew, after a log rotation moved the file away (SIGHUP); a descriptor stays.

        :raise ConfigurationError: when it cannot be opened; the old file stays in use.
        """
        if self._path is None:
            return
        new = self._open(self._path)
        old, self._descriptor = self._descriptor, new
        os.close(old)

    def close(self) -> None:
        """Close the file; lines written after this are dropped."""
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


#: Looked up now: a codec is a module that is imported, and what is told may be that nothing can be imported.
_escape = codecs.getencoder("unicode_escape")


def _printable(text: str) -> str:
    """Escape what is not printable (controls, bidirectional overrides, lone surrogates), and the backslash itself."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else _escape(c)[0].decode("ascii") for c in text)


def _plain(value: Any) -> Any:
    """A field's value as JSON has it: numbers, truth, nothing and bounded text."""
    if type(value) is str and len(value) <= MAX_VALUE_CHARACTERS and value.isascii():
        return value
    if value is None or value is True or value is False:
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and _LEAST <= value <= _MOST:
        return int(value)
    if isinstance(value, bytes):
        value = value[: MAX_VALUE_CHARACTERS + 1].decode("utf-8", "backslashreplace")
    elif not isinstance(value, str):
        try:
            value = str(value)
        except Exception as e:  # noqa: BLE001 a boundary: an object that cannot be shown must not stop the log
            value = f"<{type(value).__name__}: {type(e).__name__}>"
    value = str.__str__(value)
    if len(value) > MAX_VALUE_CHARACTERS:
        value = value[:MAX_VALUE_CHARACTERS] + "..."
    return value.encode("utf-8", "replace").decode("utf-8") if not value.isascii() else value


def is_field(name: str) -> bool:
    """Whether it may name a field of ours, and nothing that ``twisted.logger`` or its forerunner makes something of."""
    return not name.startswith("log_") and name not in _TWISTED


class EventText:
    """What is told of events: their fields as plain values, without secrets, and their message.

    :param allowed: which names of fields are told; asked once for each.
    """

    def __init__(self, allowed: Callable[[str], bool] = lambda name: True) -> None:
        self._allowed = allowed
        self._secret: dict[str, bool] = {}
        self._shown: dict[tuple[str, ...], tuple[tuple[str, bool], ...]] = {}

    def _is_secret(self, name: str) -> bool:
        secret = self._secret.get(name)
        if secret is None:
            if len(self._secret) >= _MAX_CACHED:
                self._secret.clear()
            secret = self._secret[name] = _SECRET.search(name) is not None
        return secret

    def fields(self, event: LogEvent) -> dict[str, Any]:
        """Nothing, truth, numbers of 64 bits and bounded text, by name."""
        # Events of one place in the program have the same names.
        names = tuple(event)
        shown = self._shown.get(names)
        if shown is None:
            if len(self._shown) >= _MAX_CACHED:
                self._shown.clear()
            shown = self._shown[names] = tuple(
                [(name, self._is_secret(name)) for name in names if is_field(name) and self._allowed(name)]
            )
        fields: dict[str, Any] = {}
        for name, secret in shown:
            value = event[name]
            kind = type(value)
            if secret:
                value = REDACTED
            elif kind is str:
                if len(value) > MAX_VALUE_CHARACTERS or not value.isascii():
                    value = _plain(value)
            elif kind is not int or not _LEAST <= value <= _MOST:
                value = _plain(value)
            fields[name] = value
        return fields

    def message(self, event: LogEvent, fields: Mapping[str, Any]) -> str:
        """The format with the fields in it, bounded.

        :param fields: those of the event.
        """
        text = event.get("log_format")
        if isinstance(text, str) and "(" not in text:
            try:
                return str(_plain(text.format_map(fields)))
            except (KeyError, ValueError, IndexError, AttributeError, TypeError):
                pass  # Twisted's own way knows more and says what is wrong
        safe = {name: value for name, value in event.items() if not self._is_secret(name)}
        return str(_plain(formatEvent({**safe, **{n: REDACTED for n in event if self._is_secret(n)}})))

    @staticmethod
    def failure(event: LogEvent) -> str:
        """The traceback, its end if it is long; empty without one."""
        failure = event.get("log_failure")
        if not isinstance(failure, Failure):
            return ""
        text: str = failure.getTraceback()
        return text if len(text) <= MAX_FAILURE_CHARACTERS else "..." + text[-MAX_FAILURE_CHARACTERS:]


@implementer(ILogObserver)
class LineObserver:
    """Writes events as lines.

    :param output: takes each line, with its line end; a ``LogFile`` or Twisted's rotating one.
    :param levels: what is written at all.
    :param form: ``"human"`` or ``"json"``.
    """

    def __init__(self, output: LineSink, levels: LevelControl, *, form: str = "human") -> None:
        forms: dict[str, Callable[[LogEvent], bytes]] = {"human": self._human, "json": self._json}
        if form not in forms:
            raise ConfigurationError((f"no log format {form!r}; there are human and json",))
        self._output = output
        self._levels = levels
        self._line = forms[form]
        text = EventText()
        self._fields = text.fields
        self._message = text.message
        self._failure = text.failure
        self._named: dict[str, frozenset[str]] = {}
        self._second = -1
        self._second_text = ""

    def __call__(self, event: LogEvent) -> None:
        """Write an event if its level is enabled; never raises."""
        rank = LEVEL_RANKS.get(event.get("log_level"), 1)
        if rank < self._levels.threshold(event.get("log_namespace") or ""):
            return
        try:
            line = self._line(event)
        except Exception as e:  # noqa: BLE001 a boundary: an observer that raises is called again for its own error
            line = f"log event of {event.get('log_namespace')!r} cannot be written: {type(e).__name__}\n".encode()
        self._output.write(line)

    def _time(self, event: LogEvent) -> str:
        at = event.get("log_time")
        if not isinstance(at, float):
            at = time.time()
        second = int(at)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((at - second) * 1000):03d}Z"

    def _in_message(self, text: Any) -> frozenset[str]:
        """The names of the fields that a format shows already."""
        if not isinstance(text, str):
            return frozenset()
        names = self._named.get(text)
        if names is None:
            if len(self._named) >= _MAX_CACHED:
                self._named.clear()
            names = self._named[text] = frozenset(_NAMES.findall(text))
        return names

    def _human(self, event: LogEvent) -> bytes:
        fields = self._fields(event)
        level = getattr(event.get("log_level"), "name", "info")
        parts = [self._time(event), level, event.get("log_namespace") or "-"]
        parts.append(_printable(self._message(event, fields)))
        shown = self._in_message(event.get("log_format"))
        for name, value in fields.items():
            if value is None or value == "" or name in shown:
                continue
            text = value if type(value) is str else str(value)
            if text.isalnum():
                parts.append(f"{name}={text}")
                continue
            if not text.isprintable() or "\\" in text:
                text = _printable(text)
            if " " in text or '"' in text or "=" in text:
                text = '"' + text.replace('"', "\\x22") + '"'
            parts.append(f"{name}={text}")
        failure = self._failure(event) if "log_failure" in event else ""
        if failure:
            parts.append("failure=" + _printable(failure))
        return (" ".join(parts) + "\n").encode("utf-8", "backslashreplace")

    def _json(self, event: LogEvent) -> bytes:
        fields = self._fields(event)
        line: dict[str, Any] = {
            "time": self._time(event),
            "level": getattr(event.get("log_level"), "name", "info"),
            "package": event.get("log_namespace") or "-",
            "message": self._message(event, fields),
        }
        line.update((name, value) for name, value in fields.items() if name not in line)
        failure = self._failure(event) if "log_failure" in event else ""
        if failure:
            line["failure"] = failure.encode("utf-8", "replace").decode()
        octets = msgspec.json.encode(line)
        if octets.isascii() and b"\x7f" not in octets:
            return octets + b"\n"
        text = _RISKY_JSON.sub(lambda m: f"\\u{ord(m[0]):04x}", octets.decode("utf-8"))
        return text.encode("utf-8") + b"\n"


@implementer(ILogObserver)
class FailureCounter:
    """Counts the events of the level ``critical``: exceptions that ended a session, a task or a callback.

    Add it beside the ``LineObserver``, whatever levels are written::

        failures = FailureCounter()
        globalLogPublisher.addObserver(failures)
        failures.counts             # {'moxtwisted.imap.protocol': 2, 'twisted.internet.defer': 1}

    :ivar counts: events by the namespace of their logger; always the same dict, so it may be shown to somebody once.
        Beyond 200 namespaces all others share ``"other"``.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def __call__(self, event: LogEvent) -> None:
        """Count an event if it is critical; never raises."""
        if event.get("log_level") is not LogLevel.critical:
            return
        namespace = str(event.get("log_namespace") or "other")
        if namespace not in self.counts and len(self.counts) >= MAX_COUNTED:
            namespace = "other"
        self.counts[namespace] = self.counts.get(namespace, 0) + 1


def begin_logging(observer: ILogObserver) -> None:
    """Make this the only destination of all events, those since the start of the program included.

    For programs that are not started by ``twistd``; it does this by itself, with the ``ILogObserver`` of the application
    or what its option ``--logger`` names. Standard output is left alone.
    """
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
