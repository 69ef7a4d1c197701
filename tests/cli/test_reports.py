"""``moxmail reports``, ``dmarc parsereportmsg``, ``tlsrpt parsereportmsg``."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli import reports
from moxtwisted.cli.main import main
from tests.mailauth.reports.samples import dmarc_message, tls_message


class Parsing(SynchronousTestCase):
    """Reports in files."""

    def run_command(self, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Status, what was printed, and what was said about errors."""
        out, err = io.StringIO(), io.StringIO()
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        ):
            status = main(list(words))
        return status, out.getvalue(), err.getvalue()

    def file(self, octets: bytes) -> str:
        """A file with a message."""
        path = Path(self.mktemp())
        path.write_bytes(octets)
        return str(path)

    def test_dmarc(self) -> None:
        """Each row of a report is a line."""
        status, out, _ = self.run_command("dmarc", "parsereportmsg", self.file(dmarc_message()))
        self.assertEqual(status, 0)
        self.assertEqual(
            out.splitlines(),
            [
                "report 4711 of Reporter about example.org, 2027-01-14 04:13 to 2027-01-15 04:13 UTC: 2 of 3 messages failed",
                "  1  192.0.2.1  pass (dkim pass, spf fail), none, from example.org, forwarded looks so",
                "  2  192.0.2.2  fail (dkim fail, spf fail), none, from example.org, forwarded looks so",
            ],
        )

    def test_tls(self) -> None:
        """Each policy and kind of failure is a line; a message may come by standard input."""
        status, out, _ = self.run_command("tlsrpt", "parsereportmsg", stdin=tls_message())
        self.assertEqual(status, 0)
        self.assertEqual(
            out.splitlines()[1:],
            [
                "  example.org, sts: 3 of 13 failed",
                "    3  certificate-expired  192.0.2.1 to mx.example.org 198.51.100.1",
            ],
        )

    def test_json(self) -> None:
        """Programs get all of it, of all files; what is no report is said beside, and is the status."""
        files = [self.file(dmarc_message()), self.file(b"Subject: hello\r\n\r\n"), "/nowhere"]
        status, out, err = self.run_command("dmarc", "parsereportmsg", "--json", *files)
        self.assertEqual(status, 1)
        (found,) = json.loads(out)
        self.assertEqual((found["file"], found["kind"], found["rows"][1]["count"]), (files[0], "dmarc", 2))
        self.assertIn(f"{files[1]}: not a report: no part", err)
        self.assertIn("/nowhere: cannot be read", err)

    def test_other_kind(self) -> None:
        """Each command wants its own kind."""
        status, _, err = self.run_command("tlsrpt", "parsereportmsg", stdin=dmarc_message())
        self.assertEqual(status, 1)
        self.assertIn("not a report about TLS", err)

    def test_terminal(self) -> None:
        """What a terminal would act on does not reach it."""
        octets = tls_message(b'{"date-range":{"start-datetime":"2027-01-01","end-datetime":"2027-01-01"},"report-id":"\\u001b[2J",'
                             b'"organization-name":"x","policies":[]}')  # fmt: skip
        _, out, _ = self.run_command("tlsrpt", "parsereportmsg", stdin=octets)
        self.assertIn("report ?[2J of x about no domain", out)


class Listing(SynchronousTestCase):
    """What came in."""

    def listed(self, *words: str, rows: list[dict[str, Any]]) -> tuple[str, list[Any]]:
        """What is printed of rows, and what the server was asked."""
        asked: list[Any] = []

        class Administration:
            def reports_list(self, *arguments: Any) -> Any:
                asked.append(arguments)
                return rows

        self.patch(reports, "call", lambda _, operation: operation(Administration(), None))
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertEqual(main(["reports", *words]), 0)
        return out.getvalue(), asked

    def test_table(self) -> None:
        """People get a table."""
        out, asked = self.listed(
            "dmarc", "--domain", "example.org", rows=[{"organization": "Reporter", "total": 3}]
        )
        self.assertEqual(asked, [("dmarc", "example.org", 100, False)])
        self.assertEqual(out.splitlines(), ["organization  total", "Reporter      3"])

    def test_json(self) -> None:
        """Programs get all of each report."""
        rows = [{"total": 3, "detail": '{"rows": [1]}'}, {"total": 4, "detail": ""}]
        err = io.StringIO()
        with redirect_stderr(err):
            out, asked = self.listed("tls", "--json", "--limit", "7", rows=rows)
        self.assertEqual(asked, [("tls", "", 7, True)])
        self.assertEqual(
            json.loads(out), [{"total": 3, "report": {"rows": [1]}}, {"total": 4, "report": None}]
        )
        self.assertIn("1 report too much", err.getvalue())
