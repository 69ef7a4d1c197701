"""The whole server, killed without warning while clients write to it: what it acknowledged is there, once, and nothing is broken.

Each client keeps a record of every message it hands over: in which states the message may be after a crash. Before a command
these are the state without and with it, after the acknowledgement the latter alone. After each restart the
mailboxes are read, and whatever was found is what must be found from then on.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from shutil import rmtree
from typing import ClassVar

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.keepers import KEEPERS

from .live import ACCOUNT, IMAPS, LMTP, PASSWORD, ROOT, SMTP, LiveServer, own_address, unverified

KILLS = 10
#: Acknowledgements before a kill, at least and at most; then comes a wait of at most so many seconds.
ACKNOWLEDGED = (5, 90)
MOMENT_SECONDS = 0.05
#: How long anything may take before the test gives up.
PATIENCE_SECONDS = 20.0

Place = tuple[str, tuple[str, ...]]
"""A mailbox, and the flags there in order."""
State = tuple[Place, ...]
"""Every place where a message is, in order; empty = it is nowhere."""
Change = Callable[[State], State]


class GoneError(Exception):
    """The server is gone, as it should be."""


@define
class Record:
    """What is known of one message.

    :ivar known: the state that was acknowledged or found last.
    :ivar possible: the states it may be found in.
    :ivar exact: whether its octets are kept as they are, with no field in front.
    """

    digest: bytes
    octets: int
    exact: bool
    known: State = ()
    possible: set[State] = field(factory=lambda: {()})

    def settle(self, state: State) -> None:
        """It is so, and nothing else is possible."""
        self.known, self.possible = state, {state}

    def same(self, kept: bytes) -> bool:
        """Whether these are its octets."""
        whole = len(kept) == self.octets if self.exact else len(kept) >= self.octets
        return whole and hashlib.sha256(kept[len(kept) - self.octets :]).digest() == self.digest


@define
class Ledger:
    """What all clients know.

    :ivar troubles: answers that should not have been.
    :ivar acknowledged: commands so far.
    :ivar over: whether clients stop, and messages may be put off.
    """

    random: random.Random
    records: dict[str, Record] = field(factory=dict)
    troubles: list[str] = field(factory=list)
    acknowledged: int = 0
    over: bool = False
    _changed: threading.Condition = field(factory=threading.Condition)

    def letter(self, *, exact: bool) -> tuple[str, bytes]:
        """A new message, and its name."""
        with self._changed:
            name = f"n{len(self.records)}"
            lines = self.random.choice((0, 1, 5, 50, 600))
            mark = self.random.getrandbits(64)
            head = f"From: a@client.example\r\nMessage-ID: <{name}@killed.example>\r\nSubject: {mark}\r\n\r\n"
            octets = head.encode() + b"".join(b"%d line %d\r\n" % (mark, number) for number in range(lines))
            self.records[name] = Record(hashlib.sha256(octets).digest(), len(octets), exact)
        return name, octets

    def attempt(self, names: Iterable[str], change: Change, command: Callable[[], str]) -> None:
        """Run a command that changes the states of messages.

        :param command: gives a text when it was refused, which it should not be; raises when nobody answers.
        """
        records = [self.records[name] for name in names]
        for record in records:
            record.possible = {record.known, change(record.known)}
        refused = command()
        for record in records:
            record.settle(record.known if refused else change(record.known))
        with self._changed:
            if refused:
                self.troubles.append(refused)
            self.acknowledged += 1
            self._changed.notify_all()

    def trouble(self, text: str) -> None:
        """Something went wrong that has nothing to do with the kill."""
        with self._changed:
            self.troubles.append(text)

    def await_acknowledged(self, number: int) -> bool:
        """Wait until there are so many."""
        with self._changed:
            return self._changed.wait_for(lambda: self.acknowledged >= number, PATIENCE_SECONDS)


class Wire:
    """A raw connection."""

    def __init__(self, ip: str, port: int, *, tls: bool = False) -> None:
        try:
            self._socket = socket.create_connection((ip, port), timeout=PATIENCE_SECONDS)
            if tls:
                self._socket = unverified().wrap_socket(self._socket)
        except OSError as e:
            raise GoneError from e
        self._received = b""

    def send(self, octets: bytes) -> None:
        """Send it all."""
        try:
            self._socket.sendall(octets)
        except TimeoutError:
            raise
        except OSError as e:
            raise GoneError from e

    def line(self) -> bytes:
        """The next line, without its end."""
        while b"\r\n" not in self._received:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise
            except OSError as e:
                raise GoneError from e
            if not data:
                raise GoneError
            self._received += data
        line, _, self._received = self._received.partition(b"\r\n")
        return line

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


class Sender:
    """Sends messages by SMTP or LMTP, one after the other."""

    def __init__(self, ledger: Ledger, ip: str, port: int) -> None:
        self._ledger = ledger
        self._wire = Wire(ip, port)
        self._reply()
        self._command(b"LHLO client.example" if port == LMTP else b"EHLO client.example")

    def _reply(self) -> bytes:
        line = self._wire.line()
        while line[3:4] == b"-":
            line = self._wire.line()
        return line

    def _command(self, octets: bytes) -> bytes:
        self._wire.send(octets + b"\r\n")
        return self._reply()

    def work(self) -> None:
        """One message."""
        name, octets = self._ledger.letter(exact=False)
        for command in (b"MAIL FROM:<a@client.example>", f"RCPT TO:<{ACCOUNT}>".encode(), b"DATA"):
            reply = self._command(command)
            if self._ledger.over and reply.startswith(b"451 "):
                # Whoever had to be asked about the recipient was killed.
                raise GoneError
            if reply[:1] not in b"23":
                self._ledger.trouble(f"{command!r}: {reply!r}")
        self._ledger.attempt((name,), lambda _: (("INBOX", ()),), lambda: self._message(octets))

    def _message(self, octets: bytes) -> str:
        reply = self._command(octets + b".")
        if self._ledger.over and reply.startswith(b"451 "):
            # Whoever had it to deliver was killed: it may be there.
            raise GoneError
        return "" if reply.startswith(b"250 ") else f"message refused: {reply!r}"

    def close(self) -> None:
        """Let go of the connection."""
        self._wire.close()


class Keeper:
    """Puts messages into a mailbox of its own by IMAP, marks, moves, copies and expunges them."""

    def __init__(self, ledger: Ledger, ip: str, mailbox: str) -> None:
        self._ledger = ledger
        self._here, self._there = mailbox, f"{mailbox}-other"
        self._wire = Wire(ip, IMAPS, tls=True)
        self._tag = 0
        self._code = b""
        self._wire.line()
        self._command(f"LOGIN {ACCOUNT} {PASSWORD}")
        for name in (self._here, self._there):
            self._command(f"CREATE {name}", may_fail=True)
        self._command(f"SELECT {self._here}")

    def _command(self, text: str, literal: bytes | None = None, *, may_fail: bool = False) -> str:
        """What was wrong; else nothing."""
        self._tag += 1
        tag = b"t%d " % self._tag
        self._wire.send(tag + text.encode() + b"\r\n" + (b"" if literal is None else literal + b"\r\n"))
        line = self._wire.line()
        while not line.startswith(tag):
            line = self._wire.line()
        self._code = line
        return "" if may_fail or line.startswith(tag + b"OK") else f"{text}: {line!r}"

    def work(self) -> None:
        """A few messages in, and one thing done to all of them."""
        ledger = self._ledger
        kept = dict(self._append() for _ in range(ledger.random.randint(1, 4)))
        uids = ",".join(kept.values())
        {0: self._mark, 1: self._move, 2: self._expunge, 3: self._copy, 4: self._unmark}[
            ledger.random.randrange(5)
        ](kept, uids)

    def _append(self) -> tuple[str, str]:
        name, octets = self._ledger.letter(exact=True)
        flags = self._ledger.random.choice(((), ("$Kept",), ("$Kept", "\\Seen")))
        text = f"APPEND {self._here} ({' '.join(flags)}) {{{len(octets)}+}}"
        self._ledger.attempt((name,), lambda _: ((self._here, flags),), lambda: self._command(text, octets))
        found = re.search(rb"\[APPENDUID \d+ (\d+)\]", self._code)
        if found is None:
            self._ledger.trouble(f"no APPENDUID: {self._code!r}")
        return name, found[1].decode() if found else "0"

    def _flagged(self, add: set[str], remove: set[str]) -> Change:
        def change(state: State) -> State:
            return tuple((mailbox, tuple(sorted((set(flags) | add) - remove))) for mailbox, flags in state)

        return change

    def _mark(self, names: Iterable[str], uids: str) -> None:
        change = self._flagged({"\\Flagged", "$Marked"}, set())
        self._ledger.attempt(
            names, change, lambda: self._command(f"UID STORE {uids} +FLAGS (\\Flagged $Marked)")
        )

    def _unmark(self, names: Iterable[str], uids: str) -> None:
        change = self._flagged(set(), {"\\Seen", "$Kept"})
        self._ledger.attempt(
            names, change, lambda: self._command(f"UID STORE {uids} -FLAGS.SILENT (\\Seen $Kept)")
        )

    def _move(self, names: Iterable[str], uids: str) -> None:
        def change(state: State) -> State:
            return tuple((self._there, flags) for _, flags in state)

        self._ledger.attempt(names, change, lambda: self._command(f"UID MOVE {uids} {self._there}"))

    def _copy(self, names: Iterable[str], uids: str) -> None:
        def change(state: State) -> State:
            return tuple(sorted((*state, *((self._there, flags) for _, flags in state))))

        self._ledger.attempt(names, change, lambda: self._command(f"UID COPY {uids} {self._there}"))

    def _expunge(self, names: Iterable[str], uids: str) -> None:
        change = self._flagged({"\\Deleted"}, set())
        self._ledger.attempt(names, change, lambda: self._command(f"UID STORE {uids} +FLAGS (\\Deleted)"))
        self._ledger.attempt(names, lambda _: (), lambda: self._command(f"UID EXPUNGE {uids}"))

    def close(self) -> None:
        """Let go of the connection."""
        self._wire.close()


class KilledTests(SynchronousTestCase):
    """SIGKILL at random moments.

    :cvar kills: how many.
    :cvar keepers: that the server has.
    :cvar stops: whether clients stop then, because the server lives on.
    """

    kills: ClassVar[int] = KILLS
    stops: ClassVar[bool] = False
    keepers: ClassVar[int] = KEEPERS

    def setUp(self) -> None:
        """A server of our own, on an address of our own."""
        folder = Path(tempfile.mkdtemp(prefix="moxtwisted-killed-"))
        self.addCleanup(rmtree, folder, ignore_errors=True)
        # the shared server of this process is on 127.64.0.0/10, and may be running
        first, second, rest = own_address(os.getpid()).split(".", 2)
        self.server = LiveServer(folder / "data", f"{first}.{int(second) + 64}.{rest}", self.keepers)
        self.addCleanup(self.server.stop)
        self.seed = int.from_bytes(os.urandom(4))
        self.ledger = Ledger(random.Random(self.seed))
        self.numbers: dict[str, tuple[int, int]] = {}

    def test_nothing_is_lost(self) -> None:
        """Ten times killed in the middle of SMTP, LMTP and IMAP, it has every acknowledged message, once, with its octets and
        flags, and its databases are whole."""
        self.server.start()
        for number in range(self.kills):
            self._work_until_killed()
            self.again()
            problems = [*self.ledger.troubles, *self._problems()]
            self.assertEqual(problems, [], f"after kill {number + 1}, seed {self.seed}")
        self.assertEqual(self.server.new_tracebacks(), [])
        self.server.stop()
        self._verify()
        kept = sum(bool(record.known) for record in self.ledger.records.values())
        self.assertGreater(kept, self.kills)

    def kill(self) -> None:
        """Without warning."""
        self.server.stop(signal.SIGKILL)

    def again(self) -> None:
        """What was killed is there again."""
        self.server.start()

    def _work_until_killed(self) -> None:
        clients = [
            threading.Thread(target=self._client, args=(make,), daemon=True)
            for make in (
                lambda: Sender(self.ledger, self.server.ip, SMTP),
                lambda: Sender(self.ledger, self.server.ip, SMTP),
                lambda: Sender(self.ledger, self.server.ip, LMTP),
                lambda: Keeper(self.ledger, self.server.ip, "One"),
                lambda: Keeper(self.ledger, self.server.ip, "Two"),
                lambda: Keeper(self.ledger, self.server.ip, "Three"),
            )
        ]
        chance = self.ledger.random
        wanted = self.ledger.acknowledged + chance.randint(*ACKNOWLEDGED)
        self.ledger.over = False
        moment = chance.uniform(0, MOMENT_SECONDS)
        for client in clients:
            client.start()
        busy = self.ledger.await_acknowledged(wanted)
        threading.Event().wait(moment)
        self.ledger.over = True
        self.kill()
        for client in clients:
            client.join(PATIENCE_SECONDS)
        self.assertFalse([client for client in clients if client.is_alive()], f"seed {self.seed}")
        self.assertTrue(
            busy, f"too little was acknowledged: {self.ledger.troubles}\n{self.server.log()[-2000:]}"
        )

    def _client(self, make: Callable[[], Sender | Keeper]) -> None:
        """A client's thread: work until the server is gone."""
        try:
            client = make()
        except GoneError:
            return
        try:
            while not self.ledger.troubles and not (self.ledger.over and self.stops):
                client.work()
        except GoneError:
            pass
        except Exception as e:
            self.ledger.trouble(f"{type(client).__name__}: {e!r}")
        finally:
            client.close()

    def _problems(self) -> list[str]:
        """Read everything, and compare."""
        problems: list[str] = []
        found: dict[str, list[Place]] = {}
        for mailbox, flags, octets in self._messages(problems):
            named = re.search(rb"Message-ID: <(n\d+)@killed\.example>", octets)
            record = self.ledger.records.get(named[1].decode()) if named else None
            if named is None or record is None:
                problems.append(f"a stranger in {mailbox}: {octets[:200]!r}")
                continue
            found.setdefault(named[1].decode(), []).append((mailbox, flags))
            if not record.same(octets):
                problems.append(
                    f"{named[1].decode()} has other octets in {mailbox}, {len(octets)} of {record.octets}"
                )
        for name, record in self.ledger.records.items():
            state = tuple(sorted(found.get(name, ())))
            if state not in record.possible:
                problems.append(f"{name} is {state}, and should be one of {record.possible}")
            record.settle(state)
        return problems

    def _messages(self, problems: list[str]) -> Iterable[tuple[str, tuple[str, ...], bytes]]:
        """Mailbox, flags and octets of every message."""
        connection = self.server.imap()
        try:
            for mailbox in (
                "INBOX",
                *(f"{name}{end}" for name in ("One", "Two", "Three") for end in ("", "-other")),
            ):
                status, (count, *_) = connection.select(mailbox, readonly=True)
                if status != "OK":
                    continue
                validity, following = (
                    int(connection.response(word)[1][0]) for word in ("UIDVALIDITY", "UIDNEXT")
                )
                before = self.numbers.setdefault(mailbox, (validity, 1))
                if validity != before[0] or following < before[1]:
                    problems.append(
                        f"{mailbox}: UIDVALIDITY and UIDNEXT were {before}, are {validity, following}"
                    )
                self.numbers[mailbox] = validity, following
                if not int(count or 0):
                    continue
                _, parts = connection.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
                for part in parts:
                    if isinstance(part, tuple):
                        words = re.search(rb"FLAGS \(([^)]*)\)", part[0])
                        flags = words[1].decode().split() if words else ["unknown"]
                        # What the account's own rules say of mail that is put away is not the client's.
                        yield mailbox, tuple(sorted(set(flags) - {"\\Recent", "$NotJunk"})), part[1]
        finally:
            connection.logout()

    def _verify(self) -> None:
        """``moxmail verifydata`` finds nothing."""
        program = "import sys; from moxtwisted.cli.main import main; sys.exit(main())"
        configuration = str(self.server.folder / "mox.conf")
        done = subprocess.run(
            [sys.executable, "-c", program, "-c", configuration, "verifydata"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        self.assertEqual(
            done.returncode, 0, f"seed {self.seed}\n{done.stdout.decode(errors='replace')[-4000:]}"
        )
