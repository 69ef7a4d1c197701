"""Log lines: levels, forms, redaction, hostile values, files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.errors import ConfigurationError
from moxtwisted.server.logging import (
    DEFAULT_PACKAGES,
    FIELDS,
    FailureCounter,
    LevelControl,
    LineObserver,
    LogFile,
)

AT = 1_800_000_000.25


class _Sink:
    """Keeps lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Keep it."""
        self.lines.append(line)


class FailureCounterTests(SynchronousTestCase):
    """Exceptions are counted."""

    def test_counted(self) -> None:
        """Each exception that is logged is counted under the name of its logger, and nothing else is."""
        counter = FailureCounter()
        verifyObject(ILogObserver, counter)
        publisher = LogPublisher(counter)
        shown = counter.counts
        for namespace in ("moxtwisted.imap.protocol", "moxtwisted.smtp.protocol", "moxtwisted.imap.protocol"):
            log = Logger(namespace, observer=publisher)
            try:
                raise ZeroDivisionError(namespace)
            except ZeroDivisionError:
                log.failure("IMAP session failed")
            log.error("not that bad")
            log.info("nothing")
        self.assertEqual(shown, {"moxtwisted.imap.protocol": 2, "moxtwisted.smtp.protocol": 1})
        counter({"log_level": LogLevel.critical})
        counter({})
        self.assertEqual(shown["other"], 1)

    def test_bounded(self) -> None:
        """However many loggers there are, the table stays small and no event goes uncounted."""
        counter = FailureCounter()
        for number in range(1000):
            counter({"log_level": LogLevel.critical, "log_namespace": f"n{number}"})
        self.assertLessEqual(len(counter.counts), 201)
        self.assertEqual(sum(counter.counts.values()), 1000)


class LevelTests(SynchronousTestCase):
    """Levels by package."""

    def test_longest_name_counts(self) -> None:
        """The level of the longest package name above a logger counts, whole labels only."""
        levels = LevelControl("warn", {"moxtwisted.smtp": "debug", "moxtwisted.smtp.client": "error"})
        for namespace, want in (
            ("moxtwisted.smtp", "debug"),
            ("moxtwisted.smtp.server", "debug"),
            ("moxtwisted.smtp.client.x", "error"),
            ("moxtwisted.smtpx", "warn"),
            ("moxtwisted.imap", "warn"),
            ("", "warn"),
        ):
            self.assertTrue(levels.enabled(namespace, want), namespace)
            if want != "debug":
                self.assertFalse(levels.enabled(namespace, "info"), namespace)

    def test_change_at_run_time(self) -> None:
        """A level that is set counts at once, and is gone when it is unset; the default stays."""
        levels = LevelControl()
        self.assertFalse(levels.enabled("moxtwisted.imap.server", "debug"))
        levels.set("moxtwisted.imap", "debug")
        self.assertTrue(levels.enabled("moxtwisted.imap.server", "debug"))
        self.assertEqual(levels.list(), {"": "info", "moxtwisted.imap": "debug", **DEFAULT_PACKAGES})
        levels.unset("moxtwisted.imap")
        levels.unset("")
        self.assertFalse(levels.enabled("moxtwisted.imap.server", "debug"))
        levels.set("", "error")
        self.assertFalse(levels.enabled("moxtwisted.imap.server", "warn"))

    def test_listeners(self) -> None:
        """Who wants to know of changes is told of each."""
        levels = LevelControl()
        seen: list[dict[str, str]] = []
        levels.changed.append(lambda: seen.append(levels.list()))
        levels.set("a", "debug")
        levels.unset("a")
        levels.replace({"": "warn"})
        self.assertRaises(ConfigurationError, levels.set, "a", "loud")
        first = {"": "info", **DEFAULT_PACKAGES}
        self.assertEqual(seen, [{**first, "a": "debug"}, first, {"": "warn"}])

    def test_replaced(self) -> None:
        """Levels are taken over as a whole, or not at all."""
        levels, other = LevelControl("info", {"a": "debug"}), LevelControl("warn", {"b": "error"})
        self.assertTrue(levels.enabled("a", "debug"))
        for wrong in ({}, {"a": "info"}, {"": "info", "a": "loud"}):
            self.assertRaises(ConfigurationError, levels.replace, wrong)
        self.assertTrue(levels.enabled("a", "debug"))
        levels.replace(other.list())
        self.assertEqual(levels.list(), other.list())
        self.assertFalse(levels.enabled("a", "info"))
        self.assertFalse(levels.enabled("b.c", "warn"))

    def test_unknown_level(self) -> None:
        """A level that is none is refused with the names of those that are."""
        error: ConfigurationError = self.assertRaises(ConfigurationError, LevelControl().set, "x", "loud")
        self.assertEqual(
            error.problems, ("no log level 'loud'; there are debug, info, warn, error, critical",)
        )

    def test_many_loggers(self) -> None:
        """The memory for logger names is bounded."""
        levels = LevelControl()
        for number in range(10_000):
            levels.threshold(f"x{number}")
        self.assertLess(len(levels._known), 5000)


class LineTests(SynchronousTestCase):
    """What a line looks like."""

    def setUp(self) -> None:
        """A publisher with one observer of each form."""
        self.human, self.json = _Sink(), _Sink()
        self.levels = LevelControl()
        publisher = LogPublisher(
            LineObserver(self.human, self.levels), LineObserver(self.json, self.levels, form="json")
        )
        self.log = Logger("moxtwisted.test", observer=publisher)

    def _emit(self, text: str, **fields: Any) -> tuple[str, dict[str, Any]]:
        self.log.emit(LogLevel.info, text, log_time=AT, **fields)
        return self.human.lines[-1].decode(), json.loads(self.json.lines[-1])

    def test_forms(self) -> None:
        """Both forms have time, level, package, message and fields; people see no field twice."""
        verifyObject(ILogObserver, LineObserver(self.human, self.levels))
        human, parsed = self._emit(
            "delivered to {account}", account="mjl", session="c7f3", queue_id=12, mailbox="My Box", peer=""
        )
        parsed.pop("log_time", None)
        # Logger.emit puts its own time in; ours is only a field that is left out
        self.assertRegex(
            human,
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info moxtwisted\.test delivered to mjl"
            r' session=c7f3 queue_id=12 mailbox="My Box"\n$',
        )
        self.assertEqual(parsed["message"], "delivered to mjl")
        self.assertEqual((parsed["level"], parsed["package"]), ("info", "moxtwisted.test"))
        self.assertEqual((parsed["queue_id"], parsed["account"], parsed["peer"]), (12, "mjl", ""))
        self.assertEqual(list(parsed)[:4], ["time", "level", "package", "message"])

    def test_time(self) -> None:
        """The time of the event is written in UTC with milliseconds."""
        observer = LineObserver(self.human, self.levels)
        observer({"log_time": AT, "log_format": "x", "log_level": LogLevel.info, "log_namespace": "a"})
        self.assertEqual(self.human.lines, [b"2027-01-15T08:00:00.250Z info a x\n"])

    def test_filtered(self) -> None:
        """An event below its level is not written."""
        self.log.debug("not me")
        self.assertEqual(self.human.lines, [])
        self.levels.set("moxtwisted", "debug")
        self.log.debug("me")
        self.assertEqual(len(self.human.lines), 1)

    def test_redaction(self) -> None:
        """Whatever is named like a secret is redacted, in the message too, and nothing else."""
        for name in (
            "password",
            "new_password",
            "clientSecret",
            "access_token",
            "private_key",
            "Authorization",
        ):
            human, parsed = self._emit("x {" + name + "} y", **{name: "hunter2"})
            self.assertNotIn("hunter2", human)
            self.assertNotIn("hunter2", json.dumps(parsed))
            self.assertEqual(parsed["message"], "x [redacted] y")
        human, parsed = self._emit("{password.real} {fields()}", password=1j, fields=lambda: "f")
        self.assertNotIn("0j", human)
        self.assertEqual(self._emit("x", key_type="rsa")[1]["key_type"], "rsa")

    def test_hostile_values(self) -> None:
        """What a peer sends cannot begin a line, steer a terminal or turn the text around."""
        for nasty in (
            "a\r\nb",
            "\x1b[2J",
            "\x9b2J",
            "\u2028x",
            "\u202egpj.exe",
            "\0",
            "\x7f",
            "\ud800",
            "q\\n",
        ):
            human, parsed = self._emit("login {login}", login=nasty, session=nasty)
            self.assertEqual(human.count("\n"), 1)
            self.assertTrue(human[:-1].isprintable(), repr(human))
            raw = self.json.lines[-1]
            self.assertEqual(raw.count(b"\n"), 1)
            self.assertTrue(raw.decode()[:-1].isprintable(), raw)
            if nasty != "\ud800":
                self.assertEqual(parsed["login"], nasty)

    @settings(max_examples=150)
    @given(
        st.dictionaries(st.sampled_from(sorted(FIELDS)), st.text() | st.binary() | st.none() | st.floats())
    )
    def test_any_values(self, fields: dict[str, Any]) -> None:
        """Any values give one printable line of each form."""
        human, parsed = self._emit("event {account}", **fields)
        self.assertEqual(human.count("\n"), 1)
        self.assertTrue(human[:-1].isprintable())
        self.assertNotIn("cannot be written", human + parsed["message"])

    def test_long_values(self) -> None:
        """Long values are cut."""
        human, parsed = self._emit("{detail}", detail="x" * 10_000, session=b"y" * 10_000)
        self.assertLess(len(human), 5000)
        self.assertEqual(len(parsed["session"]), 2003)

    def test_objects(self) -> None:
        """Other objects are written as their text, one that cannot say it by its type."""

        class Broken:
            """Cannot be shown."""

            def __str__(self) -> str:
                raise ValueError("no")

        _, parsed = self._emit("x", peer=Path("/x"), uid=Broken(), count=[1, 2])
        self.assertEqual(
            (parsed["peer"], parsed["uid"], parsed["count"]), ("/x", "<Broken: ValueError>", "[1, 2]")
        )

    def test_braces_in_a_text(self) -> None:
        """A name between two braces is text: the field of this name is still told."""
        human, _ = self._emit("{{peer}} and {{{uid}}}", peer="p", uid=7)
        self.assertTrue(human.endswith(" {peer} and {7} peer=p\n"), human)

    def test_large_numbers(self) -> None:
        """A number for which JSON has no room in other programs is written as text."""
        human, parsed = self._emit("x", count=1 << 64, uid=-(1 << 63))
        self.assertEqual((parsed["count"], parsed["uid"]), (str(1 << 64), -(1 << 63)))
        self.assertIn(f" count={1 << 64} ", human)

    def test_failure(self) -> None:
        """A logged failure has its traceback, in one line."""
        try:
            raise KeyError("gone")
        except KeyError:
            self.log.failure("it broke", session="c1")
        human, parsed = self.human.lines[-1].decode(), json.loads(self.json.lines[-1])
        self.assertIn("critical moxtwisted.test it broke session=c1 failure=", human)
        self.assertEqual(human.count("\n"), 1)
        self.assertIn("KeyError: 'gone'", parsed["failure"])
        self.assertIn("\n", parsed["failure"])

    def test_odd_formats(self) -> None:
        """A format without its field, with attributes, with calls, or none at all still gives a line."""
        for text, fields in (
            ("{missing}", {}),
            ("{peer.real}", {"peer": 3}),
            ("{peer()}", {"peer": lambda: "called"}),
            ("{", {}),
        ):
            human, _ = self._emit(text, **fields)
            self.assertIn(" info moxtwisted.test ", human)
        self.assertIn("called", self._emit("{peer()}", peer=lambda: "called")[0])
        LineObserver(self.human, self.levels)({})
        self.assertIn(b"Z info - ", self.human.lines[-1])

    def test_observer_never_raises(self) -> None:
        """An event that cannot be written at all gives a line that says so."""
        observer = LineObserver(self.human, self.levels)
        self.patch(observer, "_fields", lambda event: 1 / 0)
        observer({"log_namespace": "a\nb", "log_level": LogLevel.error})
        self.assertEqual(self.human.lines, [b"log event of 'a\\nb' cannot be written: ZeroDivisionError\n"])

    def test_unknown_form(self) -> None:
        """A form that is none is refused."""
        self.assertRaises(ConfigurationError, LineObserver, self.human, self.levels, form="xml")


class FileTests(SynchronousTestCase):
    """Where lines go."""

    def test_reopen(self) -> None:
        """After a rotation the lines go to a new file of the old name."""
        path = Path(self.mktemp())
        log = LogFile(str(path))
        log.write(b"one\n")
        path.rename(f"{path}.1")
        log.write(b"two\n")
        log.reopen()
        log.write(b"three\n")
        self.assertEqual(Path(f"{path}.1").read_bytes(), b"one\ntwo\n")
        self.assertEqual(path.read_bytes(), b"three\n")
        self.assertEqual(path.stat().st_mode & 0o007, 0)
        log.close()
        log.write(b"lost\n")
        self.assertEqual(log.dropped, 1)
        log.close()

    def test_unwritable(self) -> None:
        """A path that cannot be opened is refused by name, and a full disk costs lines but no exception."""
        error: ConfigurationError = self.assertRaises(ConfigurationError, LogFile, "/nonexistent/log")
        self.assertIn("/nonexistent/log: log file cannot be opened", error.problems[0])
        full = LogFile("/dev/full")
        self.addCleanup(full.close)
        full.write(b"x\n")
        self.assertEqual(full.dropped, 1)

    def test_failed_reopen(self) -> None:
        """When the new file cannot be opened the old one stays in use."""
        directory = Path(self.mktemp())
        directory.mkdir()
        log = LogFile(str(directory / "log"))
        directory.rename(f"{directory}.1")
        self.assertRaises(ConfigurationError, log.reopen)
        log.write(b"x\n")
        log.close()
        self.assertEqual(Path(f"{directory}.1", "log").read_bytes(), b"x\n")

    def test_descriptor(self) -> None:
        """An open descriptor is written to and not closed or reopened."""
        reader, writer = os.pipe()
        log = LogFile(None, descriptor=writer)
        log.reopen()
        log.write(b"x\n")
        log.close()
        os.close(writer)
        self.assertEqual(os.read(reader, 10), b"x\n")
        os.close(reader)
