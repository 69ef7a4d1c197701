"""The log of a BadSMTP server: one line per event, in the form that BadSMTP's users parse.

::

    journal = Journal.to(LogSettings())               # JSON on standard output, from INFO on
    journal.write(Level.INFO, "SMTP command received", {"session_id": "sess_…", "command": "EHLO", "args": ["x"]})

    {"timestamp":"2026-11-22T08:30:00.123456Z","level":"INFO","message":"SMTP command received",
     "fields":{"session_id":"sess_…","command":"EHLO","args":["x"]}}

    2026-11-22T08:30:00Z [INFO] SMTP command received session_id=sess_… command=EHLO args=["x"]       (text)

Sessions redact what is secret before they write it; this is the second net: what follows AUTH, LOGIN, PASS … is ``[redacted]`` here
whatever they did. Lines are written by a thread, see ``moxtwisted.badsmtp.logsinks``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from twisted.logger import LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from moxtwisted.badsmtp.interfaces import IJournal, Level
from moxtwisted.badsmtp.logsinks import LineWriter, Sink, StreamSink, SyslogSink, TCPSink, UDPSink
from moxtwisted.badsmtp.settings import LogSettings

__all__ = ["REDACTED", "Journal", "formed", "host_and_port", "redacted"]

REDACTED: Final = "[redacted]"

_RANKS: Final = {level: rank for rank, level in enumerate(Level)}
# Longer texts are cut: the log is about what happened, not for keeping messages.
_TEXT_CHARACTERS: Final = 2048
_ITEMS: Final = 100
_LARGE: Final = 2**63
# Commands of SMTP, IMAP and POP3 whose arguments are secrets.
_SECRET_COMMANDS: Final = frozenset(("AUTH", "AUTHENTICATE", "LOGIN", "PASS", "APOP"))
_SECRET_FIELDS: Final = frozenset(("password", "secret", "credentials", "token", "proof", "initial_response"))
_MECHANISM: Final = re.compile(
    r"(PLAIN|LOGIN|NTLM|GSSAPI|EXTERNAL|ANONYMOUS|XOAUTH2|OAUTHBEARER|(CRAM|DIGEST|SCRAM)-[A-Z0-9-]{1,20})",
    re.IGNORECASE,
)
# A whole command in a text: the verb and the mechanism may be read, the rest not. A tag of IMAP may stand before it; a code of SMTP
# is none.
_SECRET_TEXT: Final = re.compile(
    r"\A(\s*(?:(?!\d{3}[ -])\S{1,64}\s+)?AUTH(?:ENTICATE)?\s+(?:" + _MECHANISM.pattern + r"(?=\s)\s+)?"
    r"|\s*PASS\s+|\s*APOP\s+\S+\s+|\s*(?!\d{3}[ -]|AUTH\s)\S{1,64}\s+LOGIN\s+)\S.*",
    re.IGNORECASE | re.DOTALL,
)
# Most texts have nothing of the kind; to see that takes a fifth of the time.
_SUSPICIOUS: Final = re.compile(r"auth|login|pass|apop", re.IGNORECASE)
# "AUTH LOGIN" alone says nothing that is secret.
_MECHANISM_ALONE: Final = re.compile(
    r"\s*(\S+\s+)?AUTH(ENTICATE)?\s+" + _MECHANISM.pattern + r"\s*", re.IGNORECASE
)
# Fields that say nothing when they are empty. An empty mail_from does: it is that of a bounce.
_NEVER_EMPTY: Final = frozenset(("args", "command", "hostname"))
# What a text line shows without quotes.
_BARE: Final = re.compile(r"[!#-<>-~]+")


def host_and_port(text: str) -> tuple[str, int]:
    """``logs.example:514`` or ``[::1]:514`` taken apart.

    :raises ValueError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(text)
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(text)
    return host, int(port)


@implementer(IJournal)
class Journal:
    """Writes log lines.

    :param sink: where to; None: nowhere.
    :param seconds: the time since 1970; by default of the machine.
    """

    def __init__(
        self, settings: LogSettings, sink: Sink | None, seconds: Callable[[], float] = time.time
    ) -> None:
        self._threshold = _RANKS[Level(settings.log_level)]
        self._json = settings.log_format == "json"
        self._trace = settings.log_trace
        self._seconds = seconds
        self._writer = LineWriter(sink, self._lost) if sink is not None else None

    @classmethod
    def to(cls, settings: LogSettings) -> Journal:
        """The log that the settings describe."""
        return cls(settings, _sink(settings))

    def write(self, level: Level, message: str, fields: Mapping[str, Any], error: str = "") -> None:
        """One line; see ``IJournal``. Never waits and never raises for what the line says."""
        if self._writer is not None and _RANKS[level] >= self._threshold:
            self._writer.put(level, self.line(level, message, fields, error))

    def line(self, level: Level, message: str, fields: Mapping[str, Any], error: str = "") -> bytes:
        """The line as it is written, without its end."""
        now = datetime.fromtimestamp(self._seconds(), UTC)
        shown = {
            str(name): _plain(value)
            for name, value in formed(redacted(fields)).items()
            if name != "trace" or self._trace
        }
        error = _text(_redacted_text(error))
        if not self._json:
            return _text_line(now, level, message, error, shown)
        entry: dict[str, Any] = {
            "timestamp": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": level.value,
            "message": _text(message),
        }
        if error:
            entry["error"] = error
        if shown:
            entry["fields"] = shown
        return msgspec.json.encode(entry)

    def close(self, seconds: float = 1.0) -> None:
        """Wait so long for what is still to be written. What comes later is left out. Blocks."""
        if self._writer is not None:
            self._writer.close(seconds)

    def observe(self, event: LogEvent) -> None:
        """An observer of ``twisted.logger``: what the server itself has to say, warnings and worse."""
        level = event.get("log_level", LogLevel.info)
        if level < LogLevel.warn:
            return
        failure = event.get("log_failure")
        fields: dict[str, Any] = {"namespace": event.get("log_namespace", "")}
        error = ""
        if failure is not None:
            error = f"{failure.type.__name__}: {failure.getErrorMessage()}"
            # The place where it happened is at the end.
            fields["trace"] = failure.getTraceback().splitlines()[-_ITEMS:]
        worse = Level.WARN if level == LogLevel.warn else Level.ERROR
        self.write(worse, formatEvent(event) or "failure", fields, error)

    def _lost(self, count: int) -> bytes:
        return self.line(Level.WARN, "Log lines lost", {"count": count})


def _sink(settings: LogSettings) -> Sink | None:
    if settings.log_output == "off":
        return None
    if settings.log_output == "syslog":
        return SyslogSink(settings.syslog_facility)
    if settings.log_output in ("tcp", "udp"):
        host, port = host_and_port(settings.log_remote_addr)
        return TCPSink(host, port) if settings.log_output == "tcp" else UDPSink(host, port)
    return StreamSink(2 if settings.log_output == "stderr" else 1)


def redacted(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without what is, or looks like, a secret."""
    secret = str(fields.get("command", "")).upper() in _SECRET_COMMANDS
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        if name.lower() in _SECRET_FIELDS:
            shown[name] = REDACTED
        elif name == "args" and secret:
            shown[name] = _redacted_arguments(value)
        elif isinstance(value, str):
            shown[name] = _redacted_text(value)
        else:
            shown[name] = value
    return shown


def formed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As BadSMTP writes them: arguments as a list, the code of a reply as a text, a stage like a verb; what is not there is left out."""
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "args" and isinstance(value, str):
            shown[name] = value.split() or None
        elif name == "response_code" and isinstance(value, int):
            shown[name] = f"{value:03d}"
        elif name == "smtp_stage" and isinstance(value, str):
            shown[name] = value.upper() or None
        elif name in _NEVER_EMPTY:
            shown[name] = value or None
        else:
            shown[name] = value
    return {name: value for name, value in shown.items() if value is not None}


def _redacted_arguments(value: Any) -> Any:
    """Of the arguments of AUTH, the mechanism may be read; nothing of a command that has none."""
    if isinstance(value, (list, tuple)):
        first, rest = str(value[0]) if value else "", bool(value[1:])
        if not first:
            return value
        return [first, REDACTED][: 1 + rest] if _MECHANISM.fullmatch(first) else [REDACTED]
    first, space, _ = str(value).strip().partition(" ")
    if not _MECHANISM.fullmatch(first):
        return REDACTED if first else ""
    return f"{first} {REDACTED}" if space else first


def _redacted_text(text: str) -> str:
    if not _SUSPICIOUS.search(text) or _MECHANISM_ALONE.fullmatch(text):
        return text
    return _SECRET_TEXT.sub(lambda match: match[1] + REDACTED, text)


def _plain(value: Any, depth: int = 0) -> Any:
    """A value that JSON has, of bounded size."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        # Larger ones are no numbers to many who read JSON.
        return value if abs(value) < _LARGE else _text(hex(value))
    if isinstance(value, (list, tuple, set, frozenset)) and depth < 3:
        return [_plain(item, depth + 1) for item in list(value)[:_ITEMS]]
    if isinstance(value, Mapping) and depth < 3:
        return {_text(str(key)): _plain(item, depth + 1) for key, item in list(value.items())[:_ITEMS]}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _text(bytes(value[: _TEXT_CHARACTERS + 1]).decode("utf-8", "backslashreplace"))
    return _text(str(value))


def _text(text: str) -> str:
    """A text that UTF-8 can carry, no longer than there is room for."""
    if len(text) > _TEXT_CHARACTERS:
        text = text[: _TEXT_CHARACTERS - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _text_line(now: datetime, level: Level, message: str, error: str, fields: Mapping[str, Any]) -> bytes:
    parts = [f"{now:%Y-%m-%dT%H:%M:%S}Z", f"[{level.value}]", _one_line(message)]
    if error:
        parts.append(f"error={_shown(error)}")
    parts += [f"{_one_line(name)}={_shown(value)}" for name, value in fields.items()]
    return " ".join(parts).encode()


def _one_line(text: str) -> str:
    """Without what would begin another line or talk to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in _text(text))


def _shown(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    encoded = msgspec.json.encode(value).decode()
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in encoded)
