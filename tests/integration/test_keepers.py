"""IMAP by other processes: the whole server with two keepers, and real clients."""

from __future__ import annotations

import imaplib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from moxtwisted.server.certificates.selfsigned import self_signed
from tests.integration.keepers import IMAP, IMAPS, PASSWORD, KeepersCase, keepers_below
from tests.integration.live import LMTP, base64_lines
from tests.integration.peers import needs
from tests.integration.receivers import FORGER, UNSPARED, descriptors, letter, reply, settled
from tests.integration.test_capabilities import by_scram, listed
from tests.integration.test_mbsync import MAILDIR_CHANNEL
from tests.integration.test_receivers import RECIPIENT, TAKEN
from tests.test_compose import IP, ROOT, WAIT_SECONDS, Conversation

#: Accounts that nobody uses go back at once.
TIDY = (
    UNSPARED
    + """
from moxtwisted.compose import keepers
from moxtwisted.server.lending import lending
keepers._TIDY_SECONDS = 0.2
lending._UNUSED_SECONDS = 0.2
"""
)
MBSYNC = (
    """\
IMAPStore server
Tunnel "openssl s_client -quiet -verify_quiet -connect {ip}:{port}"
User {account}
Pass {password}
"""
    + MAILDIR_CHANNEL
)


class ClientsTests(KeepersCase):
    """Clients of all kinds."""

    people = ("ann", "bob", "cat")

    def idle(self, name: str = "mox") -> Conversation:
        """A client that waits for what comes."""
        client = Conversation(socket.create_connection((IP, IMAPS), timeout=WAIT_SECONDS))
        self.addCleanup(self.leave, client)
        client.tls()
        client.line()
        self.assertIn("t OK", client.imap(f"LOGIN {name}@localhost {PASSWORD}"))
        self.assertIn("t OK", client.imap("SELECT INBOX"))
        client.say("t IDLE")
        self.assertEqual(client.line()[:1], "+")
        return client

    def leave(self, client: Conversation) -> None:
        """Close it, with TLS or without."""
        client.connection.close()

    def exists(self, client: Conversation, number: int) -> None:
        """It is told that there are so many."""
        while (line := client.line()) != f"* {number} EXISTS":
            self.assertNotEqual(line, "")

    def by_scram(self, name: str) -> imaplib.IMAP4:
        """Logged in without TLS."""
        there = imaplib.IMAP4(IP, IMAP, timeout=WAIT_SECONDS)
        self.addCleanup(self.close, there)
        mechanism, answers = by_scram(listed(there))
        self.assertIn("SCRAM", mechanism)
        there.authenticate(mechanism, answers)
        return there

    def test_ways(self) -> None:
        """Log-ins with TLS, with STARTTLS and without: what they append, five megabytes of it, is fetched octet by octet by the others,
        who are told of each other's changes; all of an account are with one keeper."""
        self.serve()
        first, second, third = self.login(), self.login(port=IMAP, starttls=True), self.by_scram("mox")
        large = letter("large", base64_lines(5_000_000))
        for number, there in enumerate((first, second, third)):
            self.good(there.append("INBOX", "", "", large))  # type: ignore[arg-type]
            self.assertEqual(self.good(there.select("INBOX")), [b"%d" % (number + 1)])
        for there in (first, second, third):
            self.good(there.noop())
            parts = self.good(there.fetch("1:3", "(BODY.PEEK[])"))
            found = [part[1] for part in parts if isinstance(part, tuple)]
            self.assertTrue(found == [large] * 3, "other octets")
        self.good(third.store("2", "+FLAGS", r"(\Deleted $Work)"))
        first.response("FETCH")
        self.good(first.noop())
        self.assertIn(b"$Work", first.response("FETCH")[1][0])
        self.good(first.expunge())
        self.good(second.noop())
        self.assertEqual(second.response("EXPUNGE")[1][-1], b"2")
        self.assertNotEqual(self.where("mox"), 0)
        accounts = str(self.home / "data" / "accounts")
        self.assertNotIn(f"{accounts}/mox.db", descriptors(self.child.pid))

    def test_mail(self) -> None:
        """Who idles hears of mail by SMTP and LMTP; what is refused is among the rejects; accounts are spread over both keepers."""
        self.serve()
        waiting = self.idle()
        there = [self.login(name) for name in self.people]
        self.assertEqual(sorted(map(self.where, ("mox", *self.people))), [1, 1, 2, 2])
        self.assertEqual(self.send(letter("one"), "mox"), [RECIPIENT, TAKEN])
        self.exists(waiting, 1)
        self.assertEqual(self.send(letter("all"), "mox", *self.people), [RECIPIENT] * 4 + [TAKEN])
        self.exists(waiting, 2)
        self.assertEqual(self.send(letter("forged"), "mox", ip=FORGER)[-1][0], "5")
        with socket.create_connection((IP, LMTP), timeout=WAIT_SECONDS) as connection:
            client = Conversation(connection)
            client.line()
            client.smtp("LHLO here")
            client.smtp("MAIL FROM:<a@sender.example>")
            self.assertEqual(
                [client.smtp(f"RCPT TO:<{n}@localhost>")[:3] for n in ("mox", "ann")], ["250"] * 2
            )
            client.smtp("DATA")
            connection.sendall(letter("local") + b".\r\n")
            self.assertEqual([reply(client)[:3] for _ in range(2)], ["250"] * 2)
        self.exists(waiting, 3)
        waiting.say("DONE")
        while not waiting.line().startswith("t OK"):
            pass
        self.assertIn("MESSAGES 1", waiting.imap("STATUS Rejects (MESSAGES)"))
        self.assertEqual([self.count(client) for client in there], [2, 1, 1])
        [kept] = self.kept()["one"]
        self.assertIn(b"spf=pass", kept)
        keepers = {event.get("keeper") for event in self.events("moxtwisted.")}
        self.assertEqual(keepers & {1, 2}, {1, 2})

    @needs("curl", "mbsync", "openssl")
    def test_programs(self) -> None:
        """Curl and mbsync."""
        self.serve()
        path = self.directory / "letter"
        path.write_bytes(letter("uploaded"))
        curl = [
            "curl",
            "--silent",
            "--show-error",
            "--insecure",
            "--user",
            f"mox@localhost:{PASSWORD}",
            "--max-time",
            "20",
        ]
        for words in (
            ["--upload-file", str(path), f"imaps://{IP}:{IMAPS}/INBOX"],
            [f"imaps://{IP}:{IMAPS}/INBOX;MAILINDEX=1"],
        ):
            done = subprocess.run([*curl, *words], capture_output=True, timeout=WAIT_SECONDS, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(done.stdout.endswith(letter("uploaded")), done.stdout)
        folder = self.directory / "mbsync"
        for name in ("mail", "state"):
            (folder / name).mkdir(parents=True)
        text = MBSYNC.format(
            ip=IP, port=IMAPS, account="mox@localhost", password=PASSWORD, folder=folder, mailbox="INBOX"
        )
        (folder / "mbsyncrc").write_text(text)
        command = ["mbsync", "--config", str(folder / "mbsyncrc"), "both"]
        own = {**os.environ, "HOME": str(folder)}
        for number in (1, 2):
            done = subprocess.run(
                command,
                capture_output=True,
                timeout=WAIT_SECONDS,
                check=False,
                env=own,
                stdin=subprocess.DEVNULL,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            there = [f for name in ("new", "cur") for f in (folder / "mail" / "INBOX" / name).iterdir()]
            self.assertEqual(len(there), number)
            (folder / "mail" / "INBOX" / "new" / "1.one.local").write_bytes(b"Subject: from here\n\nbody\n")
        self.assertEqual(self.count(self.login()), 2)
        self.assertNotEqual(self.where("mox"), 0)

    def test_tidy(self) -> None:
        """An account to which nobody is logged in any more goes back; who comes again is served."""
        self.serve(TIDY)
        there = self.login()
        self.good(there.append("INBOX", "", "", letter("one")))  # type: ignore[arg-type]
        time.sleep(0.5)
        self.assertNotEqual(self.where("mox"), 0)
        there.logout()
        self.until(lambda: self.where("mox") == 0, "it stays")
        self.assertEqual(self.send(letter("two"), "mox"), [RECIPIENT, TAKEN])
        self.assertEqual(self.count(self.login()), 2)
        self.assertNotEqual(self.where("mox"), 0)


class CommandsTests(KeepersCase):
    """What is done to an account while somebody is logged in."""

    people = ("ann", "bob")

    def test_commands(self) -> None:
        """Listing asks the keeper; a new password, import, export and verification have the account come home first, and end its
        sessions; who logs in afterwards is with a keeper again."""
        self.serve()
        there = self.login()
        self.good(there.append("INBOX", "", "", letter("one")))  # type: ignore[arg-type]
        self.assertIn('"messages": 1', self.moxmail("account", "list", "--json"))
        self.good(there.noop())
        path = self.directory / "mbox"
        path.write_bytes(b"From a@b Sat Nov 21 12:00:00 2026\nSubject: imported\n\nbody\n")
        path.chmod(0o644)
        for words, said in (
            (("import", "mbox", "mox", "INBOX", str(path)), ""),
            (("export", "mbox", "mox", str(self.directory / "out")), ""),
            (("verifydata",), ""),
            (("setpassword", "mox"), "another password\n"),
        ):
            self.moxmail(*words, said=said)
            self.assertNotEqual(self.bye(there), "", words)
            password = "another password" if said else PASSWORD
            there = self.login(password=password)
            self.assertEqual(self.count(there), 2, words)
            self.assertNotEqual(self.where("mox"), 0, words)
        with self.assertRaises(imaplib.IMAP4.error):
            self.login()

    def test_status(self) -> None:
        """It says who has what, also of a keeper that hangs or is started again, and ends no session."""
        self.serve()
        there = [self.login(), self.login("ann"), self.login("ann", port=IMAP, starttls=True)]
        numbers = {name: self.where(name) for name in ("mox", "ann")}
        self.assertEqual(sorted(numbers.values()), [1, 2])

        def expected(name: str, connections: int) -> dict[str, Any]:
            return {
                "keeper": numbers[name],
                "pid": self.keeper(numbers[name]),
                "ready": True,
                "connections": connections,
                "accounts": [name],
            }

        def told() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = json.loads(self.moxmail("status", "--json"))["keepers"]
            return rows

        hung = self.kill_keeper(numbers["mox"], signal.SIGSTOP)
        try:
            rows = [expected("mox", 1), expected("ann", 2)]
            self.assertEqual(told(), sorted(rows, key=lambda row: row["keeper"]))
            self.assertIn(f"process {hung}, ready, 1 connection, 1 account: mox\n", self.moxmail("status"))
        finally:
            os.kill(hung, signal.SIGCONT)
        for one in there:
            self.good(one.noop())
        there[2].logout()
        self.until(lambda: expected("ann", 1) in told(), "who is gone is counted")
        self.kill_keeper(numbers["mox"])
        self.until(lambda: told()[numbers["mox"] - 1]["pid"] != hung, "the old process")
        self.assertEqual(told()[numbers["mox"] - 1]["accounts"], [])
        self.assertIn(expected("ann", 1), told())

    def test_tunnel(self) -> None:
        """IMAP without a log-in has the account come home; what is done there is there for those who log in afterwards."""
        self.serve()
        there = self.login()
        done = subprocess.run(
            [sys.executable, "-m", "moxtwisted.cli", "-c", str(self.path), "admin", "imapserve", "mox"],
            cwd=ROOT, input=b"a SELECT INBOX\r\nb APPEND INBOX {8+}\r\na: b\r\n\r\n\r\nc LOGOUT\r\n",
            capture_output=True, timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
        self.assertIn(b"b OK", done.stdout, done.stderr)
        self.assertNotEqual(self.bye(there), "")
        again = self.login()
        self.assertEqual(self.count(again), 1)

    def test_configuration(self) -> None:
        """Another quota holds in the session; an account that is switched off loses it; one that is removed does, and its files."""
        self.serve()
        ann, bob = self.login("ann"), self.login("bob")
        domains = self.home / "domains.conf"
        self.edit("[accounts.ann]\n", "[accounts.ann]\nquota_octets = 4096000\n", domains)
        self.until(
            lambda: b"STORAGE 0 4000" in str(self.good(ann.getquotaroot("INBOX"))).encode(), "another quota"
        )
        self.good(bob.noop())
        self.edit("[accounts.ann]\n", '[accounts.ann]\ndisabled = "closed today"\n', domains)
        self.assertNotEqual(self.bye(ann), "")
        with self.assertRaisesRegex(imaplib.IMAP4.error, "closed today"):
            self.login("ann")
        self.good(bob.noop())
        self.moxmail("account", "rm", "bob", "--yes")
        self.assertNotEqual(self.bye(bob), "")
        self.assertFalse((self.home / "data" / "accounts" / "bob.db").exists())
        self.assertEqual(self.count(self.login()), 0)

    def test_sharing(self) -> None:
        """Who shares something in a session is told OK, and both log in again, to the server; so it is with the operator's command."""
        self.serve()
        mox, ann, bob = self.login(), self.login("ann"), self.login("bob")
        self.good(mox.create("Shared"))
        self.good(mox.setacl("Shared", "ann@localhost", "lrs"))
        self.assertNotEqual(self.bye(mox), "")
        self.assertNotEqual(self.bye(ann), "")
        mox, ann = self.login(), self.login("ann")
        self.good(ann.select('"Other Users/mox/Shared"', readonly=True))
        self.good(mox.append("Shared", "", "", letter("one")))  # type: ignore[arg-type]
        self.good(ann.noop())
        self.assertEqual(ann.response("EXISTS")[1][-1], b"1")
        self.assertEqual([self.where(name) for name in ("mox", "ann")], [0, 0])
        self.moxmail("acl", "set", "ann", "INBOX", "bob", "lr")
        self.assertNotEqual(self.bye(bob), "")
        bob = self.login("bob")
        self.good(bob.select('"Other Users/ann/INBOX"', readonly=True))
        self.assertEqual(self.where("bob"), 0)
        self.good(mox.deleteacl("Shared", "ann@localhost"))
        for one in (mox, ann):
            one.logout()
        self.login()
        self.assertNotEqual(self.where("mox"), 0)


class StopTests(KeepersCase):
    people = ("ann",)

    def test_stop(self) -> None:
        """All clients read BYE, nothing is left running, and the server starts again at once."""
        self.serve()
        for _ in range(2):
            there = [self.login(), self.login("ann"), self.login("ann", port=IMAP, starttls=True)]
            pids = keepers_below(self.child.pid)
            self.assertEqual(len(pids), 2)
            self.child.send_signal(signal.SIGTERM)
            self.assertEqual(["" if self.bye(one) else "no BYE" for one in there], [""] * 3)
            self.assertIn(self.child.wait(WAIT_SECONDS), (0, -signal.SIGTERM))
            self.assertEqual([pid for pid in pids if not self.ended(pid)], [])
            self.serve()
        self.assertEqual(self.count(self.login()), 0)

    def test_signals(self) -> None:
        """To all processes of the service at once, and in the middle of a command: what was acknowledged is there."""
        self.serve()
        there = self.login()
        self.good(there.append("INBOX", "", "", letter("one", base64_lines(3_000_000))))  # type: ignore[arg-type]
        pids = keepers_below(self.child.pid)
        for pid in (self.child.pid, *pids):
            os.kill(pid, signal.SIGTERM)
        self.assertNotEqual(self.bye(there), "")
        self.assertIn(self.child.wait(WAIT_SECONDS), (0, -signal.SIGTERM))
        self.assertEqual([pid for pid in pids if not self.ended(pid)], [])
        self.assertIn("in order", self.moxmail("verifydata"))

    def test_changes(self) -> None:
        """After SIGHUP there is another certificate, and sessions go on, and so do the keepers."""
        self.serve()
        there = self.login()
        certificate, key = self_signed(["localhost"], now=time.time())

        def shown() -> bytes:
            client = Conversation(socket.create_connection((IP, IMAPS), timeout=WAIT_SECONDS))
            try:
                return client.tls()
            finally:
                client.connection.close()

        first = shown()
        (self.home / "tls" / "localhost.key").write_bytes(key)
        (self.home / "tls" / "localhost.crt").write_bytes(certificate)
        self.child.send_signal(signal.SIGHUP)
        self.until(lambda: shown() != first, "no new certificate")
        self.good(there.noop())
        self.assertTrue(settled(lambda: len(keepers_below(self.child.pid)) == 2))
