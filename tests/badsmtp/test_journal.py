"""Log lines: their form, and what must not be in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.badsmtp.interfaces import IJournal, Level
from moxtwisted.badsmtp.journal import REDACTED, Journal, host_and_port, redacted
from moxtwisted.badsmtp.settings import LogSettings

# 2026-11-22T08:30:00.250Z
_NOW = 1795336200.25
_SECRET = base64.b64encode(b"\0alice\0hunter2").decode()


class MemorySink:
    """Keeps lines."""

    def __init__(self) -> None:
        self.entries: list[tuple[Level, bytes]] = []
        self.closed = False

    def write(self, entries: Sequence[tuple[Level, bytes]]) -> None:
        self.entries += entries

    def close(self) -> None:
        self.closed = True


def _journal(sink: MemorySink | None = None, **given: Any) -> Journal:
    return Journal(LogSettings(**given), sink, lambda: _NOW)


class LineTests(SynchronousTestCase):
    """``Journal.line``."""

    def _fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        line = _journal().line(Level.INFO, "SMTP command received", fields)
        self.assertNotIn(b"\n", line)
        found: dict[str, Any] = json.loads(line)["fields"]
        return found

    def test_json(self) -> None:
        """A line is an object with time, level, message and the fields in their order."""
        line = _journal().line(
            Level.WARN,
            "SMTP error response sent",
            {"session_id": "sess_00", "client_ip": "127.0.0.1", "response_code": "550", "duration_ms": 3},
        )
        self.assertEqual(
            line.decode(),
            '{"timestamp":"2026-11-22T08:30:00.250000Z","level":"WARN","message":"SMTP error response sent",'
            '"fields":{"session_id":"sess_00","client_ip":"127.0.0.1","response_code":"550","duration_ms":3}}',
        )

    def test_error(self) -> None:
        """An error has its own place, and without fields there are none."""
        line = _journal().line(Level.ERROR, "TLS handshake failed", {}, "no shared cipher")
        self.assertEqual(
            json.loads(line),
            {
                "timestamp": "2026-11-22T08:30:00.250000Z",
                "level": "ERROR",
                "message": "TLS handshake failed",
                "error": "no shared cipher",
            },
        )

    def test_text(self) -> None:
        """In text, fields follow the message; what has blanks or would begin another line is quoted."""
        line = _journal(log_format="text").line(
            Level.INFO,
            "SMTP command received",
            {"command": "NOOP", "args": ["a", "b"], "x": "a b\r\n\x1b[0m"},
            "e",
        )
        self.assertEqual(
            line.decode(),
            "2026-11-22T08:30:00Z [INFO] SMTP command received error=e command=NOOP "
            'args=["a","b"] x="a b\\r\\n\\u001b[0m"',
        )

    def test_values(self) -> None:
        """Fields may be of any kind; None is left out, what is long is cut."""
        self.assertEqual(self._fields({"a": 2**70, "b": -5}), {"a": hex(2**70), "b": -5})
        self.assertEqual(
            self._fields(
                {"a": None, "b": b"\xff\n", "c": ("x", 1), "d": Level, "e": {"k": True}, "f": "\ud800"}
            ),
            {"b": "\\xff\n", "c": ["x", 1], "d": str(Level), "e": {"k": True}, "f": "\\ud800"},
        )
        self.assertLess(
            len(json.dumps(self._fields({"a": "x" * 100_000, "b": ["y" * 10_000] * 10_000}))), 300_000
        )

    @given(
        st.dictionaries(
            st.text(max_size=5), st.one_of(st.text(), st.binary(), st.lists(st.text()), st.floats())
        )
    )
    @settings(max_examples=100)
    def test_any(self, fields: dict[str, Any]) -> None:
        """Whatever a client made of the fields, there is one line of UTF-8, in both forms."""
        for form in ("json", "text"):
            line = _journal(log_format=form).line(Level.INFO, "m", fields)
            self.assertNotIn(b"\n", line)
            self.assertTrue(line.decode())

    def test_form(self) -> None:
        """Arguments are a list, codes of replies texts, stages verbs, as BadSMTP has them; what says nothing is left out."""
        self.assertEqual(
            self._fields(
                {
                    "args": "FROM:<a@x> SIZE=1",
                    "response_code": 99,
                    "smtp_stage": "mail",
                    "error_code": 550,
                    "command": "MAIL",
                }
            ),
            {
                "args": ["FROM:<a@x>", "SIZE=1"],
                "response_code": "099",
                "smtp_stage": "MAIL",
                "error_code": 550,
                "command": "MAIL",
            },
        )
        empty = {"args": "", "command": "", "hostname": "", "smtp_stage": "", "mail_from": ""}
        self.assertEqual(self._fields(empty), {"mail_from": ""})

    def test_trace(self) -> None:
        """Where a failure happened is told only when wanted."""
        fields = {"trace": ["line 1"]}
        self.assertNotIn(b"trace", _journal().line(Level.ERROR, "m", fields))
        self.assertIn(b"line 1", _journal(log_trace=True).line(Level.ERROR, "m", fields))


class RedactionTests(SynchronousTestCase):
    """The second net."""

    def test_arguments(self) -> None:
        """What follows the mechanism is redacted, in lists and in texts."""
        for command, args, expected in (
            ("AUTH", ["PLAIN", _SECRET], ["PLAIN", REDACTED]),
            ("auth", ["LOGIN", _SECRET, "more"], ["LOGIN", REDACTED]),
            ("AUTH", ["LOGIN"], ["LOGIN"]),
            ("AUTH", [_SECRET], [REDACTED]),
            ("AUTH", [], []),
            ("AUTH", f"PLAIN {_SECRET}", f"PLAIN {REDACTED}"),
            ("AUTH", "CRAM-MD5", "CRAM-MD5"),
            ("AUTH", _SECRET, REDACTED),
            ("LOGIN", ["alice", "hunter2"], [REDACTED]),
            ("PASS", "hunter2", REDACTED),
            ("MAIL", ["FROM:<a@x>"], ["FROM:<a@x>"]),
        ):
            self.assertEqual(redacted({"command": command, "args": args})["args"], expected)

    def test_texts(self) -> None:
        """Commands that stand in a text are redacted, too; replies that name mechanisms are not."""
        for text, expected in (
            (f"AUTH PLAIN {_SECRET}", f"AUTH PLAIN {REDACTED}"),
            (f"auth {_SECRET}", f"auth {REDACTED}"),
            ("AUTH LOGIN", "AUTH LOGIN"),
            (f"a1 AUTHENTICATE PLAIN {_SECRET}", f"a1 AUTHENTICATE PLAIN {REDACTED}"),
            ("a1 LOGIN alice hunter2", f"a1 LOGIN {REDACTED}"),
            ("PASS hunter2", f"PASS {REDACTED}"),
            ("250 AUTH PLAIN LOGIN", "250 AUTH PLAIN LOGIN"),
            ("250-AUTH PLAIN LOGIN CRAM-MD5", "250-AUTH PLAIN LOGIN CRAM-MD5"),
            ("535 Authentication failed", "535 Authentication failed"),
            ("MAIL FROM:<a@x>", "MAIL FROM:<a@x>"),
        ):
            self.assertEqual(redacted({"response": text})["response"], expected)

    def test_names(self) -> None:
        """A field whose name says that it is a secret is redacted."""
        self.assertEqual(
            redacted({"password": "x", "Token": 1, "username": "alice"}),
            {"password": REDACTED, "Token": REDACTED, "username": "alice"},
        )

    @given(
        st.sampled_from(["AUTH {}", "AUTH PLAIN {}", "auth login  {}", "t AUTHENTICATE NTLM {}", "PASS {}"])
    )
    @settings(max_examples=20)
    def test_nowhere(self, form: str) -> None:
        """No line has the secret, whatever the field is called, nor as an error."""
        text = form.format(_SECRET)
        for fields, error in (({"args": text}, ""), ({"command": text}, ""), ({}, text)):
            self.assertNotIn(_SECRET.encode(), _journal().line(Level.INFO, "m", fields, error))


class JournalTests(SynchronousTestCase):
    """``Journal``, with a sink."""

    def _written(self, journal: Journal, sink: MemorySink) -> list[str]:
        journal.close(60)
        return [json.loads(line)["message"] for _, line in sink.entries]

    def test_interface(self) -> None:
        """It is what sessions write to."""
        self.assertTrue(verifyObject(IJournal, _journal()))

    def test_levels(self) -> None:
        """Lines below the level are left out, and the sink is told the level of each."""
        sink = MemorySink()
        journal = _journal(sink, log_level="WARN")
        for level in Level:
            journal.write(level, level.value, {})
        self.assertEqual(self._written(journal, sink), ["WARN", "ERROR"])
        self.assertEqual([level for level, _ in sink.entries], [Level.WARN, Level.ERROR])
        self.assertTrue(sink.closed)

    def test_off(self) -> None:
        """Without a sink nothing happens."""
        journal = Journal.to(LogSettings(log_output="off"))
        journal.write(Level.ERROR, "m", {})
        journal.close()

    def test_own_failures(self) -> None:
        """What the server itself warns of is a line, with the failure; what it only tells of is none."""
        sink = MemorySink()
        journal = _journal(sink, log_trace=True)
        log = Logger(namespace="n", observer=cast("Any", journal.observe))
        log.info("nothing")
        log.warn("careful with {what}", what="that")
        try:
            raise ValueError("bad")
        except ValueError:
            log.failure("went wrong")
        self.assertEqual(self._written(journal, sink), ["careful with that", "went wrong"])
        entry = json.loads(sink.entries[1][1])
        self.assertEqual((entry["level"], entry["error"]), ("ERROR", "ValueError: bad"))
        self.assertIn("test_own_failures", " ".join(entry["fields"]["trace"]))

    def test_addresses(self) -> None:
        """The address of a log server has a host and a port."""
        self.assertEqual(host_and_port("logs.example:514"), ("logs.example", 514))
        self.assertEqual(host_and_port("[::1]:514"), ("::1", 514))
        for wrong in ("", "514", ":514", "h:", "h:0", "h:65536", "h:x", "::1:514", "h:-1", "h:²"):
            self.assertRaises(ValueError, host_and_port, wrong)
