"""Log events of one process, published in another.

In a process that has no log of its own::

    levels = LevelControl("info", {})                       # the owner's, told by its list()
    begin_logging(EventSender(link.send_event, levels, reactor.callFromThread))

in the owner, with what came over the link::

    republish(plain, receiver=2)        # EventError for what no EventSender says; or keeper=2

and every observer there sees the event as if it were the owner's own: it is written, and counted.

The owner trusts the other process with lines in the log, and with nothing else. A format of ``twisted.logger`` is a small
language: ``{peer.__class__}`` reads attributes, ``{peer()}`` calls, ``{count:999999999}`` asks for a gigabyte. So a format
that passes has names of fields in braces and nothing beside them, and a field is nothing, truth, a number or bounded text. A
sender puts the fields into any other format itself and tells the text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from string import Formatter
from threading import get_ident
from typing import Any, Final

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.server.logging import (
    LEVEL_RANKS,
    LEVELS,
    MAX_FAILURE_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    EventText,
    LevelControl,
    is_field,
)
from moxtwisted.server.metrics import COUNTED_FIELDS

__all__ = ["EventError", "EventSender", "PlainEvent", "ToldError", "republish"]

PlainEvent = tuple[str, str, float, str, dict[str, Any], str]
"""Name of the level, namespace, seconds since 1970, format, fields, traceback or empty. MessagePack can say it, in less than
500,000 octets."""

_MAX_FIELDS: Final = 40
_MAX_NAME_CHARACTERS: Final = 64
_MAX_NAMESPACE_CHARACTERS: Final = 200
#: A text as the format of itself has each brace twice.
_MAX_FORMAT_CHARACTERS: Final = 2 * (MAX_VALUE_CHARACTERS + 3)
_MAX_SKEW_SECONDS: Final = 60.0
_ODD_NAMESPACE: Final = "other"
#: Fields that say of which process an event is; no process says that of itself, or of another.
_OURS: Final = frozenset({"keeper", "receiver"})
_LEVELS: Final = {name: LogLevel.lookupByName(name) for name in LEVELS}
_NAMES: Final = {level: name for name, level in _LEVELS.items()}
_ITEMS: Final = frozenset({str, int, bool, float, type(None)})


class EventError(ValueError):
    """What came is no event of a sender.

    :ivar detail: which part of it; never anything that came.
    """

    def __init__(self, detail: str) -> None:
        ValueError.__init__(self, f"no log event: {detail}")
        self.detail = detail


class ToldError(Exception):
    """An exception of another process; its text is the last line of the traceback there."""


class _Told(Failure):
    """A failure of which only the traceback is known."""

    def __init__(self, traceback: str) -> None:
        Failure.__init__(self, ToldError(traceback.rstrip().rpartition("\n")[2][:MAX_VALUE_CHARACTERS]))
        self._traceback = traceback

    def printTraceback(
        self, file: Any = None, elideFrameworkCode: Any = False, detail: Any = "default"
    ) -> None:
        """Write it; whatever detail is asked for, there is one."""
        if file is not None:
            file.write(self._traceback)

    def getTraceback(self, elideFrameworkCode: Any = 0, detail: Any = "default") -> str:
        """As it was told."""
        return self._traceback


@lru_cache(1024)
def _field_names(text: str) -> frozenset[str] | None:
    """The fields in a format; None for one that is more than text and names of a few fields in braces."""
    if len(text) > _MAX_FORMAT_CHARACTERS:
        return None
    names: list[str] = []
    try:
        for _, name, specification, conversion in Formatter().parse(text):
            if name is None:
                continue
            if specification or conversion or not _is_name(name) or len(names) == _MAX_FIELDS:
                return None
            names.append(name)
    except ValueError:
        return None
    return frozenset(names)


@lru_cache(4096)
def _is_name(name: str) -> bool:
    if name in _OURS or len(name) > _MAX_NAME_CHARACTERS:
        return False
    return name.isascii() and name.isidentifier() and is_field(name)


@lru_cache(1024)
def _is_namespace(text: str) -> bool:
    if len(text) > _MAX_NAMESPACE_CHARACTERS or not text.isascii():
        return False
    return text == "" or text.replace(".", "").replace("_", "").isalnum()


@implementer(ILogObserver)
class EventSender:
    """Tells another process of the events that it writes or counts; never raises.

    :param send: takes a ``PlainEvent``.
    :param levels: what the other process writes.
    :param hand_over: calls a function with arguments in the thread that made the sender, where ``send`` belongs:
        ``reactor.callFromThread``. Without it ``send`` is called in the thread of the event.
    :ivar lost: events that could not be sent, or that ``send`` itself caused.
    """

    def __init__(
        self,
        send: Callable[[PlainEvent], object],
        levels: LevelControl,
        hand_over: Callable[..., object] | None = None,
    ) -> None:
        self.lost = 0
        self._send = send
        self._levels = levels
        self._hand_over = hand_over
        self._thread = get_ident()
        self._sending = False
        self._text = EventText(_is_name)

    def __call__(self, event: LogEvent) -> None:
        """Send an event if the other process would write or count it."""
        try:
            level = event.get("log_level")
            namespace = event.get("log_namespace") or ""
            if (
                LEVEL_RANKS.get(level, 1) < self._levels.threshold(namespace)
                and level is not LogLevel.critical
                and COUNTED_FIELDS.isdisjoint(event)
            ):
                return
            plain = self._plain(event, _NAMES.get(level, "info"), namespace)
            if self._hand_over is not None and get_ident() != self._thread:
                self._hand_over(self._pass_on, plain)
            else:
                self._pass_on(plain)
        except Exception:  # noqa: BLE001 a boundary: there is nowhere to tell of it
            self.lost += 1

    def _pass_on(self, plain: PlainEvent) -> None:
        if self._sending:
            # Something below ``send`` logs; that would not end.
            self.lost += 1
            return
        self._sending = True
        try:
            self._send(plain)
        except Exception:  # noqa: BLE001 a boundary: there is nowhere to tell of it
            self.lost += 1
        finally:
            self._sending = False

    def _plain(self, event: LogEvent, level: str, namespace: str) -> PlainEvent:
        fields = self._text.fields(event)
        if len(fields) > _MAX_FIELDS:
            fields = dict(islice(fields.items(), _MAX_FIELDS))
        text: Any = event.get("log_format")
        names = _field_names(text) if type(text) is str else None
        if names is None or not names <= fields.keys():
            text = self._text.message(event, fields).replace("{", "{{").replace("}", "}}")
        if not _is_namespace(namespace):
            namespace = _ODD_NAMESPACE
        failure = ""
        if "log_failure" in event:
            failure = self._text.failure(event).encode("utf-8", "replace").decode("utf-8")
        at = event.get("log_time")
        return (level, namespace, at if type(at) is float else time.time(), text, fields, failure)


def republish(
    plain: object,
    publisher: ILogObserver = globalLogPublisher,
    now: Callable[[], float] = time.time,
    **process: int,
) -> None:
    """Publish an event that a sender told.

    :param plain: what came, decoded.
    :param now: our clock. A time that is more than a minute away from it is not believed.
    :param process: number of the process that it came from, as ``receiver`` or ``keeper``; becomes a field of that name, which no
        process can send.
    :raise EventError: when no sender says such a thing; nothing was published.
    """
    if not isinstance(plain, (tuple, list)) or len(plain) != 6:
        raise EventError("its parts")
    level, namespace, at, text, fields, failure = plain
    if type(level) is not str or level not in _LEVELS:
        raise EventError("the level")
    if type(namespace) is not str or not _is_namespace(namespace):
        raise EventError("the namespace")
    if type(at) is not float:
        raise EventError("the time")
    _check_fields(fields)
    names = _field_names(text) if type(text) is str else None
    if names is None or not names <= fields.keys():
        raise EventError("the format")
    if type(failure) is not str or len(failure) > MAX_FAILURE_CHARACTERS + 3:
        raise EventError("the traceback")
    ours = now()
    event: LogEvent = {
        "log_level": _LEVELS[level],
        "log_namespace": namespace,
        "log_format": text,
        "log_time": at if abs(at - ours) <= _MAX_SKEW_SECONDS else ours,
        **fields,
        **process,
    }
    if failure:
        event["log_failure"] = _Told(failure)
    publisher(event)


def _check_fields(fields: object) -> None:
    if type(fields) is not dict or len(fields) > _MAX_FIELDS:
        raise EventError("the fields")
    for name, value in fields.items():
        if type(name) is not str or not _is_name(name):
            raise EventError("the name of a field")
        kind = type(value)
        if kind is str:
            if len(value) > MAX_VALUE_CHARACTERS + 3:
                raise EventError("the length of a field")
        elif kind not in _ITEMS:
            raise EventError("the kind of a field")
