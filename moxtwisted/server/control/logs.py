"""The log: lines for people or for programs, and levels for parts of the program that change while it runs.

::

    levels = LogLevels("info", {"moxtwisted.smtp": "debug"})
    globalLogBeginner.beginLoggingTo([levels.observer(sys.stdout, "json")])
    levels.set("debug", "moxtwisted.imap")           # what `moxmail loglevel` does

A line for people is ``2026-11-21T20:15:00.123Z info moxtwisted.server.inbound: message taken``; for programs it is a
JSON object with ``time``, ``level``, ``package``, ``message`` and the event's own fields. What a peer sent cannot
begin a new line in either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import IO, Any, Final

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    InvalidLogLevelError,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import MailError

__all__ = ["LogLevels", "human_line", "json_line"]

#: Longer texts in one field are cut; a log is not a store.
MAX_FIELD_CHARACTERS: Final = 4000


class LogLevels:
    """Which events are logged.

    @param default: a level, as ``"info"``.
    @param packages: levels by Python package.
    @raise MailError: for an unknown level.
    """

    def __init__(self, default: str = "info", packages: Mapping[str, str] | None = None) -> None:
        self._levels: dict[str, str] = {}
        self._predicate = LogLevelFilterPredicate(_level(default))
        self.set(default)
        for package, level in (packages or {}).items():
            self.set(level, package)

    def levels(self) -> dict[str, str]:
        """Level by package; the default has the empty name."""
        return dict(self._levels)

    def set(self, level: str, package: str = "") -> None:
        """Change the level of a package, or with an empty name that of all that have none of their own.

        @raise MailError: for an unknown level.
        """
        self._predicate.setLogLevelForNamespace(package or "", _level(level))
        self._levels[package] = level

    def observer(self, file: IO[str], form: str) -> ILogObserver:
        """An observer that writes the wanted events to a file.

        @param form: ``"human"`` or ``"json"``.
        """
        line = json_line if form == "json" else human_line
        return FilteringLogObserver(_Writer(file, line), [self._predicate])


@implementer(ILogObserver)
class _Writer:
    """Writes each event with one call, so that lines of several processes do not mix."""

    def __init__(self, file: IO[str], line: Callable[[LogEvent], str]) -> None:
        self._file = file
        self._line = line

    def __call__(self, event: LogEvent) -> None:
        text = self._line(event)
        # Octets of mail may have become lone surrogates on the way.
        self._file.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
        self._file.flush()


def _level(name: str) -> Any:
    try:
        return LogLevel.levelWithName(name)
    except InvalidLogLevelError:
        known = ", ".join(level.name for level in LogLevel.iterconstants())
        raise MailError(f"there is no level {name[:40]!r}, but: {known}") from None


def _time(event: LogEvent) -> str:
    time = datetime.fromtimestamp(event.get("log_time", 0), UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Without characters that begin a line or steer a terminal."""
    if text.isprintable():
        return text[:MAX_FIELD_CHARACTERS]
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii")
        for c in text[:MAX_FIELD_CHARACTERS]
    )


def _message(event: LogEvent) -> str:
    text = formatEvent(event)
    if not text and event.get("log_failure") is not None:
        text = str(event["log_failure"].getErrorMessage())
    return text


def human_line(event: LogEvent) -> str:
    """The event as a line; the lines of a traceback follow it, indented."""
    level = getattr(event.get("log_level"), "name", "info")
    package = event.get("log_namespace", "-")
    text = f"{_time(event)} {level} {package}: {_one_line(_message(event))}\n"
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        text += "".join(f"\t{_one_line(line)}\n" for line in failure.getTraceback().splitlines())
    return text


def json_line(event: LogEvent) -> str:
    """The event as a JSON object on one line."""
    record: dict[str, Any] = {
        "time": _time(event),
        "level": getattr(event.get("log_level"), "name", "info"),
        "package": event.get("log_namespace", ""),
        "message": _message(event)[:MAX_FIELD_CHARACTERS],
    }
    for name, value in event.items():
        if name.startswith("log_") or name in record or name in ("isError", "printed", "why", "system"):
            continue
        if value is None or isinstance(value, (bool, int, float)):
            record[name] = value
        else:
            record[name] = str(value)[:MAX_FIELD_CHARACTERS]
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        record["traceback"] = failure.getTraceback()[:MAX_FIELD_CHARACTERS]
    return json.dumps(record) + "\n"
