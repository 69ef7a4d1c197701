"""Log events from one process to another: what passes, and what a process that is in other hands cannot do."""

from __future__ import annotations

import contextlib
import json
import threading
from enum import IntEnum
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher, formatEvent
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxtwisted.server.logging import LEVELS, FailureCounter, LevelControl, LineObserver
from moxtwisted.server.metrics import COUNTED_FIELDS, Metrics
from moxtwisted.server.processes.events import EventError, EventSender, ToldError, republish

NOW = 1_800_000_000.25


@implementer(ILogObserver)
class _Events:
    """Keeps events."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, event: Any) -> None:
        """Keep it."""
        self.seen.append(event)


class _Sink:
    """Keeps lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Keep it."""
        self.lines.append(line)


class EventTestCase(SynchronousTestCase):
    """A receiver with a log, and an owner with observers; both have the same levels."""

    def setUp(self) -> None:
        """Nothing has been logged."""
        self.levels = LevelControl()
        self.sink, self.human = _Sink(), _Sink()
        self.metrics, self.failures = Metrics(), FailureCounter()
        events = _Events()
        self.seen = events.seen
        self.publisher = LogPublisher(
            events,
            LineObserver(self.sink, self.levels, form="json"),
            LineObserver(self.human, self.levels),
            self.metrics,
            self.failures,
        )
        self.sent: list[Any] = []
        self.sender = EventSender(self.sent.append, self.levels)
        self.log = Logger("moxtwisted.test", observer=self.sender)

    def told(self, index: int = -1) -> dict[str, Any]:
        """What the owner writes of an event that was sent, as it comes out of MessagePack."""
        before = len(self.sink.lines)
        republish(
            msgspec.msgpack.decode(msgspec.msgpack.encode(self.sent[index])),
            self.publisher,
            lambda: NOW,
            receiver=2,
        )
        self.assertEqual(len(self.sink.lines), before + 1)
        return dict(json.loads(self.sink.lines[-1]))


class SenderTests(EventTestCase):
    """What is sent, and what the owner makes of it."""

    def test_as_our_own(self) -> None:
        """An event has the level, logger, message and fields that it had, and the number of its process."""
        verifyObject(ILogObserver, self.sender)
        self.log.warn("{peer} says {login}", peer="192.0.2.7", login="jörg", count=3, seconds=0.5, tls=None)
        line = self.told()
        del line["time"]
        self.assertEqual(
            line,
            {
                "level": "warn",
                "package": "moxtwisted.test",
                "message": "192.0.2.7 says jörg",
                "peer": "192.0.2.7",
                "login": "jörg",
                "count": 3,
                "seconds": 0.5,
                "tls": None,
                "receiver": 2,
            },
        )
        self.assertIn(b"192.0.2.7 says j\xc3\xb6rg count=3 seconds=0.5 receiver=2\n", self.human.lines[-1])

    def test_same_line(self) -> None:
        """The owner writes the line that the receiver itself would write, but for the number of the process."""
        ours = _Sink()
        log = Logger("a.b", observer=LogPublisher(self.sender, LineObserver(ours, self.levels)))
        log.error(
            "{what} again: {detail}",
            what=b"\xffx\n",
            detail="\x1b[2J\u202e\\",
            password="hunter2",
            size=1 << 80,
        )
        log.info("100 % of {{braces}} {peer}", peer="{x}")
        for index, line in enumerate(ours.lines):
            plain = self.sent[index]
            republish(plain, self.publisher, now=partial(itemgetter(2), plain))
            self.assertEqual(self.human.lines[-1], line)
        self.assertNotIn("hunter2", str(self.sent))

    def test_level(self) -> None:
        """What the owner would not write is not sent; a change of levels counts at once."""
        self.log.debug("quiet")
        self.assertEqual(self.sent, [])
        self.levels.replace({"": "error", "moxtwisted.test": "debug"})
        self.log.debug("loud")
        Logger("twisted.x", observer=self.sender).warn("quiet")
        self.assertEqual([plain[3] for plain in self.sent], ["loud"])

    def test_counted(self) -> None:
        """What is counted is sent though it is not written, and the counters count it."""
        self.levels.replace({"": "critical"})
        fields = {"dmarc": "pass", "decision": "refused", "effect": "delay", "second_opinion": "spf"}
        self.assertEqual(fields.keys(), COUNTED_FIELDS)
        for name, value in fields.items():
            self.log.debug("x", **{name: value})
        self.log.debug("y", peer="p")
        self.assertEqual(len(self.sent), 4)
        for plain in self.sent:
            republish(plain, self.publisher)
        self.assertEqual(self.sink.lines, [])
        text = self.metrics.text({}).decode()
        for counter in ("verified", "decisions", "effects", "second_opinion_differs"):
            self.assertRegex(text, rf"(?m)^moxmail_{counter}_total{{.*}} 1.0$")

    def test_failure(self) -> None:
        """An exception comes with its traceback, is counted under its logger, and is a Failure for all who look."""
        try:
            raise KeyError("gö\ud800ne")
        except KeyError:
            self.log.failure("it broke", session="c1")
        line = self.told()
        self.assertEqual((line["level"], line["message"], line["session"]), ("critical", "it broke", "c1"))
        self.assertIn("test_events.py", line["failure"])
        self.assertIn("KeyError", line["failure"].splitlines()[-1])
        self.assertEqual(self.failures.counts, {"moxtwisted.test": 1})
        failure = self.seen[-1]["log_failure"]
        self.assertIsInstance(failure, Failure)
        self.assertTrue(failure.check(ToldError))
        self.assertIn("KeyError", failure.getErrorMessage())
        for text in (failure.getTraceback(), failure.getBriefTraceback()):
            self.assertIn("Traceback (most recent call last)", text)

    def test_long_failure(self) -> None:
        """Of a long traceback the end is sent, and taken."""
        error = ValueError("x" * 50_000)
        self.log.failure("it broke", Failure(error))
        self.assertEqual(len(self.told()["failure"]), 20_003)

    def test_formats(self) -> None:
        """Any format that the program may use comes to the same text, with what it reads and calls done here."""
        for text, fields, want in (
            ("{peer.real}", {"peer": 3}, "3"),
            ("{peer()}", {"peer": lambda: "called {x}"}, "called {x}"),
            ("{count:05d} {peer!r}", {"count": 7, "peer": "p"}, "00007 'p'"),
            ("{peer} }}{{", {"peer": "{peer}"}, "{peer} }{"),
            ("{{peer}}", {}, "{peer}"),
            ("{log_namespace}", {}, "moxtwisted.test"),
            ("(brackets) {count}", {"count": 1}, "(brackets) 1"),
            ("", {}, ""),
        ):
            self.log.info(text, **fields)
            self.assertEqual(self.told()["message"], want)
        for text in ("{", "{missing}", "{0}", "{}"):
            self.log.info(text)
            self.assertIn("nable to format event", self.told()["message"])
        self.assertEqual(self.sender.lost, 0)

    def test_legacy(self) -> None:
        """What is logged by the way of old comes over as its text."""
        publisher = legacy.LogPublisher(publishPublisher=LogPublisher(self.sender))
        publisher.msg("old {way}", system="x")
        self.levels.set("", "debug")
        self.levels.unset("log_legacy")
        publisher.msg("old {way}", system="x")
        self.assertEqual(self.told()["message"], "old {way}")

    def test_bounds(self) -> None:
        """Events of any size are cut to one that is taken."""
        fields: dict[str, Any] = {f"f{n}": "é" * 5000 for n in range(100)}
        self.log.info("{f1}", **fields)
        self.assertLess(len(msgspec.msgpack.encode(self.sent[-1])), 500_000)
        self.assertEqual(len(self.told()["f39"]), 2003)
        self.log.info("{{" * 3000 + "{f99}", **fields)
        self.assertEqual(len(self.told()["message"]), 2003)
        self.log.info(
            "x",
            **{"f" * 100: 1, "not a name": 2, "ö": 3, "message": 4, "receiver": 9, "keeper": 9, "peer": 5},
        )
        line = self.told()
        self.assertEqual((line["peer"], len(line)), (5, 6))

    def test_numbers(self) -> None:
        """Numbers of subclasses are numbers, and such as MessagePack cannot say are texts."""

        class Colour(IntEnum):
            """Some."""

            RED = 4

        class Word(str):
            """A text that knows more."""

            __slots__ = ()

        self.log.info("x", uid=Colour.RED, size=1 << 64, count=-(1 << 63), peer=Word("p"), tls=float("inf"))
        line = self.told()
        self.assertEqual(
            (line["uid"], line["size"], line["count"], line["peer"]), (4, str(1 << 64), -(1 << 63), "p")
        )

    def test_odd_events(self) -> None:
        """An event of somebody who knows nothing of loggers is sent as well, with a name that is one."""
        self.sender({})
        self.assertEqual((self.told()["package"], self.told()["level"]), ("-", "info"))
        self.sender({"log_namespace": "a\nb", "log_format": "x", "log_time": "soon"})
        self.assertEqual(self.told()["package"], "other")

    def test_never_raises(self) -> None:
        """When sending fails, or an event cannot be looked at, that is counted."""
        sender = EventSender(lambda plain: 1 / 0, self.levels)
        Logger("a", observer=sender).info("x")
        sender({"log_namespace": 7})
        self.assertEqual(sender.lost, 2)

    def test_own_events(self) -> None:
        """What sending itself logs is not sent, which would log again."""

        def send(plain: Any) -> None:
            self.sent.append(plain)
            log.info("sending")

        sender = EventSender(send, self.levels)
        log = Logger("a", observer=sender)
        log.info("one")
        log.info("two")
        self.assertEqual([plain[3] for plain in self.sent], ["one", "two"])
        self.assertEqual(sender.lost, 2)

    def test_threads(self) -> None:
        """An event of another thread is handed over to the thread of the sender."""
        handed: list[Any] = []
        sender = EventSender(self.sent.append, self.levels, lambda *call: handed.append(call))
        log = Logger("a", observer=sender)
        log.info("here")
        thread = threading.Thread(target=log.info, args=("there",))
        thread.start()
        thread.join()
        self.assertEqual([plain[3] for plain in self.sent], ["here"])
        for function, *arguments in handed:
            function(*arguments)
        self.assertEqual([plain[3] for plain in self.sent], ["here", "there"])

    @settings(max_examples=100, deadline=None)
    @given(
        st.text(max_size=30) | st.from_regex(r"(\{[a-z]{1,2}[.!:()]?[a-z0-9]?\}| |x){1,5}", fullmatch=True),
        st.dictionaries(
            st.from_regex(r"[a-z]{1,2}", fullmatch=True),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.binary()
            | st.lists(st.none()),
        ),
    )
    def test_any_event(self, text: str, fields: dict[str, Any]) -> None:
        """Whatever is logged, the owner takes it."""
        self.sender({"log_level": LogLevel.info, "log_namespace": "a", "log_format": text, **fields})
        self.assertEqual(self.sender.lost, 0)
        self.told()


class HostileTests(EventTestCase):
    """A receiver in other hands."""

    GOOD: tuple[Any, ...] = ("info", "moxtwisted.test", NOW, "{peer}", {"peer": "p", "count": 1}, "")

    def refused(self, **changes: Any) -> str:
        """Why an event with other parts is not taken."""
        names = ("level", "namespace", "time", "text", "fields", "failure")
        parts = [changes.get(name, part) for name, part in zip(names, self.GOOD, strict=True)]
        error: EventError = self.assertRaises(EventError, republish, parts, self.publisher)
        self.assertEqual(self.seen, [])
        self.assertNotIn("hostile", str(error))
        return error.detail

    def test_good(self) -> None:
        """The event that the others are made of is taken, at any of the levels."""
        for level in LEVELS:
            republish((level, *self.GOOD[1:]), self.publisher)
        self.assertEqual([event["log_level"].name for event in self.seen], list(LEVELS))

    def test_parts(self) -> None:
        """What has not the parts of an event is refused, by the name of what is wrong."""
        wrong: tuple[Any, ...] = (
            None,
            7,
            "hostile",
            b"",
            {},
            [],
            self.GOOD[:5],
            (*self.GOOD, 1),
            dict.fromkeys(range(6)),
        )
        for plain in wrong:
            self.assertRaises(EventError, republish, plain, self.publisher)
        for level in (None, 1, "loud", "INFO", b"info", ["info"]):
            self.assertEqual(self.refused(level=level), "the level")
        for namespace in (None, 1, "host ile", "a\nb", "é", "x" * 201, b"a"):
            self.assertEqual(self.refused(namespace=namespace), "the namespace")
        for at in (None, 1, "x"):
            self.assertEqual(self.refused(time=at), "the time")
        for failure in (None, 1, b"", "x" * 20_004):
            self.assertEqual(self.refused(failure=failure), "the traceback")

    def test_fields(self) -> None:
        """Fields that are no plain values, too many or too long, or names that mean something, are refused."""
        for fields in (None, [], [["peer", 1]], {f"f{n}": 1 for n in range(41)}):
            self.assertEqual(self.refused(fields=fields), "the fields")
        for name in (
            "log_failure", "log_level", "log_x", "isError", "failure", "message", "", "a b", "a-b", "é", "x" * 65, 1, b"a",
        ):  # fmt: skip
            self.assertEqual(self.refused(fields={"peer": 1, name: 1}), "the name of a field")
        for value in (b"x", [], {}, (), object(), msgspec.msgpack.Ext(1, b"")):
            self.assertEqual(self.refused(fields={"peer": value}), "the kind of a field")
        self.assertEqual(self.refused(fields={"peer": "x" * 2004}), "the length of a field")

    def test_formats(self) -> None:
        """A format that is more than names of fields reaches nothing: it is refused before anybody formats it."""
        for text in (
            "{0.__class__}",
            "{0}",
            "{}",
            "{peer.__class__}",
            "{peer.__class__.__mro__[1].__subclasses__()}",
            "{peer[0]}",
            "{peer()}",
            "{peer!r}",
            "{count:999999999}",
            "{count:{count}}",
            "{missing}",
            "{log_namespace}",
            "{log_source}",
            "{{{peer.__class__}}}",
            "{peer",
            "peer}",
            "{ peer}",
            "x" * 5000,
            "{peer}" * 41,
            "{receiver}",
            None,
            7,
            b"x",
        ):
            self.assertEqual(self.refused(text=text), "the format", text)

    def test_nothing_is_called(self) -> None:
        """Of a format that is taken, text and values are all that comes out, also by Twisted's own way of formatting."""
        text = "({{peer.__class__}}) {{peer()}} {peer}"
        republish((*self.GOOD[:3], text, {"peer": "{peer.__class__} {0}"}, ""), self.publisher)
        want = "({peer.__class__}) {peer()} {peer.__class__} {0}"
        self.assertEqual(formatEvent(self.seen[0]), want)
        self.assertEqual(json.loads(self.sink.lines[0])["message"], want)

    def test_time(self) -> None:
        """A time far from ours is not believed."""
        for at, want in (
            (NOW - 59, NOW - 59),
            (NOW - 61, NOW),
            (1e300, NOW),
            (float("nan"), NOW),
            (-1.0, NOW),
        ):
            republish((*self.GOOD[:2], at, *self.GOOD[3:]), self.publisher, now=lambda: NOW)
            self.assertEqual(self.seen[-1]["log_time"], want)

    def test_whose(self) -> None:
        """The number of the process is ours and stands in each line, and secrets are not written by their names."""
        for name in ("receiver", "keeper"):
            self.assertEqual(self.refused(fields={"peer": 1, name: 9}), "the name of a field")
        republish(
            (*self.GOOD[:3], "{{receiver}} {peer}", {"peer": "p", "password": "x1"}, ""),
            self.publisher,
            receiver=1,
        )
        self.assertTrue(self.human.lines[0].endswith(b" {receiver} p password=[redacted] receiver=1\n"))
        line = json.loads(self.sink.lines[0])
        self.assertEqual((line["receiver"], line["password"]), (1, "[redacted]"))
        republish(self.GOOD, self.publisher, keeper=3)
        line = json.loads(self.sink.lines[1])
        self.assertEqual((line["keeper"], "receiver" in line), (3, False))

    def test_line(self) -> None:
        """Neither text nor traceback nor values begin a line or steer a terminal."""
        republish((*self.GOOD[:3], "a\n\x1b[2J", {"peer": "b\n\u202e"}, "c\nd\x9b"), self.publisher)
        [line] = self.human.lines
        self.assertTrue(line.decode()[:-1].isprintable())

    @settings(max_examples=150, deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.binary()
            | st.sampled_from(LEVELS),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=12,
        )
        | st.tuples(
            st.sampled_from(LEVELS),
            st.text(),
            st.floats(),
            st.text(),
            st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text()),
            st.text(),
        )
    )
    def test_any_value(self, plain: Any) -> None:
        """Any value is an event, which is one line, or an error of one kind."""
        del self.human.lines[:]
        with contextlib.suppress(EventError):
            republish(plain, self.publisher)
            self.assertLessEqual(len(self.human.lines), 1)
            for line in self.human.lines:
                self.assertTrue(line.decode()[:-1].isprintable())
