"""The tables of BadSMTP's how-to, row by row, as programs see them that know nothing of it: smtplib, curl, swaks."""

from __future__ import annotations

import smtplib
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from moxtwisted.badsmtp.settings import GREETING_FAULTS
from tests.badsmtp.howto import literals, table
from tests.badsmtp.test_smtp import MESSAGE, PATIENCE, OverSockets
from tests.integration.peers import needs

#: What smtplib makes of a reply to NOOP with each fault: the code that it believes, or what it raises.
FAULTS: dict[str, int | str] = {
    "stall": "SMTPServerDisconnected",
    "drip": 250,
    "split": 250,
    "cut": 250,  # half a reply is a whole one to it
    "close": "SMTPServerDisconnected",
    "closeafter": 250,
    "midway": 250,
    "reset": "SMTPServerDisconnected",
    "barelf": 250,
    "codes": 550,
    "eightbit": 250,
    "long": "SMTPResponseException",
    "garbage": -1,
    "twice": 250,
    "empty": -1,
    "nul": 250,
    "many": 250,
    "continued": "SMTPServerDisconnected",
    "inject": 250,
}
#: The same of greetings, where it differs: smtplib wants 220.
GREETINGS: dict[str, int | str] = {
    "greeting554": 554,
    "greeting421": 421,
    "greeting.long": "SMTPResponseException",
}
#: What smtplib believes to be offered behind a name: with it (True), without it (False), or its parameters.
TOKENS: dict[str, tuple[str, str, bool | str]] = {
    "sizeN": ("size20000", "size", "20000"),
    "nosize": ("nosize", "size", False),
    "no8bit": ("no8bit", "8bitmime", False),
    "nopipelining": ("nopipelining", "pipelining", False),
    "nostarttls": ("nostarttls", "starttls", False),
    "nochunking": ("nochunking", "chunking", False),
    "nosmtputf8": ("nosmtputf8", "smtputf8", False),
    "noenhancedstatuscodes": ("noenhancedstatuscodes", "enhancedstatuscodes", False),
    "noauth": ("noauth", "auth", False),
    "authplain": ("authplain", "auth", " PLAIN"),
    "authlogin": ("authlogin", "auth", " LOGIN"),
    "authcram": ("authcram", "auth", " CRAM-MD5 CRAM-SHA256"),
    "authoauth": ("authoauth", "auth", " XOAUTH2"),
    "authscram": ("authscram", "auth", " SCRAM-SHA-256 SCRAM-SHA-1"),
    "authbearer": ("authbearer", "auth", " OAUTHBEARER"),
    "authntlm": ("authntlm", "auth", " NTLM"),
    "dlayN": ("dlay3", "size", True),
    "badVERBnnn": ("badquit421", "size", True),
    "badVERBfault": ("badrcptcut", "size", True),
    "eodlf": ("eodlf", "size", True),
    "eodlfcrlf": ("eodlfcrlf", "size", True),
    "eodcrlflf": ("eodcrlflf", "size", True),
    "eodcr": ("eodcr", "size", True),
    "strictlines": ("strictlines", "size", True),
}
#: And the codes of those that are no EHLO.
REFUSED_TOKENS = {"reject": 502, "noehl": 502, "helo500.": 500}


def outcome(ask: Callable[[], int]) -> int | str:
    """The code, or the name of what smtplib raises."""
    try:
        return ask()
    except smtplib.SMTPException as e:
        return type(e).__name__


class Strangers(OverSockets):
    """What they have in common."""

    timeout = 300

    def client(self) -> smtplib.SMTP:
        """One that nobody greeted yet."""
        client = smtplib.SMTP(timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def greeted(self, name: str = "any.example") -> smtplib.SMTP:
        """One that said EHLO."""
        client = self.client()
        client.connect("127.0.0.1", self.port)
        client.ehlo(name)
        return client

    async def each(self, rows: Iterable[Any], ask: Callable[[Any], Any]) -> list[tuple[Any, Any]]:
        """What ``ask`` finds for each row, in threads."""
        rows = list(rows)
        return list(zip(rows, await gatherResults([deferToThread(ask, row) for row in rows]), strict=True))


class SmtplibTests(Strangers):
    """Python's own client."""

    def said(self, lines: list[str]) -> str:
        """The last reply, as it understands it."""
        client = self.client()
        client.connect("127.0.0.1", self.port)
        if not lines[0].startswith(("EHLO", "HELO")):
            client.docmd("EHLO any.example")
        for line in lines:
            code, text = client.docmd(line)
        return f"{code} {text.decode()}".rstrip()

    async def test_replies(self) -> None:
        """Each row of errors by address and of everything else is the reply that it gets."""
        for title in ("Errors by address", "Everything else"):
            rows = [(literals(said), literals(heard)[0]) for said, heard in table(title)]
            for (lines, heard), reply in await self.each(rows, lambda row: self.said(row[0])):
                with self.subTest(title, lines=lines):
                    self.assertEqual(reply, heard)

    async def test_codes(self) -> None:
        """Each code is raised, with its text, by the method that says MAIL."""

        def ask(row: list[str]) -> tuple[int, bytes]:
            return self.greeted().mail(f"mail{row[0]}@any.example")

        for (code, text), reply in await self.each(table("What the codes say"), ask):
            with self.subTest(code):
                self.assertEqual(reply, (int(code), text.encode()))

    async def test_faults(self) -> None:
        """Each fault is what it takes for a reply, or raises."""
        rows = [literals(fault)[0] for fault, _ in table("Faults")]
        self.assertEqual(set(rows), set(FAULTS))

        def ask(fault: str) -> int | str:
            client = self.greeted()
            client.mail(f"noop.{fault}@any.example")
            return outcome(lambda: client.noop()[0])

        for fault, got in await self.each(rows, ask):
            with self.subTest(fault):
                self.assertEqual(got, FAULTS[fault])

    async def test_greetings(self) -> None:
        """So is each wrong greeting."""
        rows = list(enumerate(literals(name)[0] for _, name in table("Greetings")))
        self.assertEqual([name for _, name in rows], list(GREETING_FAULTS))

        def ask(row: tuple[int, str]) -> int | str:
            port = self.service.ports[f"greeting-fault-{row[0]}"]
            return outcome(lambda: self.client().connect("127.0.0.1", port)[0])

        for (_, name), got in await self.each(rows, ask):
            usual = FAULTS.get(name.partition(".")[2].rstrip("0123456789"), "")
            with self.subTest(name):
                self.assertEqual(got, GREETINGS.get(name, 220 if usual == 250 else usual))

    async def test_tokens(self) -> None:
        """Each token changes what it believes to be offered."""
        rows = [literals(row[0])[0] for row in table("Tokens")]
        self.assertEqual(set(rows), set(TOKENS) | set(REFUSED_TOKENS))

        def ask(token: str) -> Any:
            client = self.client()
            client.connect("127.0.0.1", self.port)
            if token in REFUSED_TOKENS:
                return client.ehlo(f"{token.rstrip('.')}.example")[0]
            label, keyword, wanted = TOKENS[token]
            client.ehlo(f"{label}.example")
            found = client.esmtp_features.get(keyword)
            return found if isinstance(wanted, str) else found is not None

        for token, got in await self.each(rows, ask):
            with self.subTest(token):
                self.assertEqual(got, REFUSED_TOKENS.get(token, TOKENS.get(token, ("", "", None))[2]))


class ProgramTests(Strangers):
    """Curl and swaks, which speak whole transactions."""

    def transactions(self) -> list[tuple[str, str, str]]:
        """The rows of errors by address that are one: sender, recipient, and the reply."""
        found = []
        for said, heard in table("Errors by address"):
            lines = literals(said)
            if lines[0].startswith("MAIL FROM:<") and lines[0].endswith(">"):
                rest = [line for line in lines[1:] if line not in {"DATA", "."}]
                recipient = rest[0][9:-1] if rest and rest[0].startswith("RCPT TO:<") else "b@any.example"
                if len(rest) < 2 and (not rest or rest[0].startswith("RCPT")):
                    found.append((lines[0][11:-1], recipient, literals(heard)[0]))
        return found

    @needs("curl")
    async def test_curl(self) -> None:
        """Curl ends well just where the table has no error; VRFY is what it does without a message."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "message")
            path.write_bytes(MESSAGE)

            def run(*arguments: str) -> tuple[bool, str]:
                command = ["curl", "-sS", f"smtp://127.0.0.1:{self.port}/client.example", *arguments]
                done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
                return done.returncode == 0, done.stdout.decode()

            def send(row: tuple[str, str, str]) -> tuple[bool, str]:
                return run("--mail-from", row[0], "--mail-rcpt", row[1], "-T", str(path))

            rows = self.transactions()
            self.assertGreater(len(rows), 10)
            rows += [
                (f"mail{code}@x.example", "b@x.example", code) for code, _ in table("What the codes say")
            ]
            for (sender, recipient, heard), (good, _) in await self.each(rows, send):
                with self.subTest(sender, recipient=recipient):
                    self.assertEqual(good, heard.startswith("250"))
            said = {literals(said)[0]: literals(heard)[0] for said, heard in table("Everything else")}
            # curl shows 2yz, and 551 and 553, which say where else to ask
            for name, shown in (
                ("exists@any.example", True),
                ("ambiguous@any.example", True),
                ("alice@any.example", False),
            ):
                good, text = await deferToThread(run, "--mail-rcpt", name)
                self.assertEqual((good, text.strip()), (shown, said[f"VRFY {name}"] if shown else ""))

    @needs("swaks")
    async def test_swaks(self) -> None:
        """Swaks shows each error as the table has it, and comes to its end whatever becomes of the reply to MAIL."""

        def run(row: tuple[str, str, str]) -> str:
            # what is no reply to swaks it waits behind
            patience = "3s" if row[2] == "MAIL FROM:" else "30s"
            command = ["swaks", "--server", "127.0.0.1", "--port", str(self.port), "--timeout", patience]
            command += ["--suppress-data", "--helo", "any.example", "--from", row[0], "--to", row[1]]
            done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
            return done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")

        rows = [row for row in self.transactions() if row[2][0] in "45" and not row[2].startswith("503 Bad")]
        self.assertGreater(len(rows), 6)
        faults = [literals(fault)[0] for fault, _ in table("Faults")]
        rows += [(f"mail.{fault}@any.example", "b@any.example", "MAIL FROM:") for fault in faults]
        for (sender, _, heard), text in await self.each(rows, run):
            with self.subTest(sender):
                self.assertIn(heard, text)
