"""Several sessions on one mailbox: what each client was told adds up to what the store has."""

import os
import random
import re
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.states import State
from moxtwisted.imap.testing import Driver, split_responses
from moxtwisted.imap.wire.sequence import SequenceSet
from moxtwisted.message.flags import MessageFlags

SEEDS = int(os.environ.get("MOXTWISTED_CONVERGENCE_SEEDS", "60"))
STEPS = 80

# Clients that said NOTIFY: of the selected mailbox, with expunges at any time or delayed.
NOTIFY = ("SELECTED", "DELAYED")

SILENT = re.compile(r"(UID )?STORE (\S+) \+FLAGS\.SILENT \((\S+)\)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_UID = re.compile(rb"\bUID (\d+)")
_MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")


@define
class Place:
    """Where the mail is.

    @ivar connect: makes a client of it.
    @ivar deliver: puts a message into INBOX.
    @ivar box: INBOX as it is, with C{uids} and C{flags}.
    """

    connect: Callable[[], Driver]
    deliver: Callable[[bytes], object]
    box: Any


@define
class Client:
    """A client that believes what it is told, and keeps a list of what it knows of each message.

    @ivar messages: for each sequence number [uid or 0, flags or None].
    """

    driver: Driver
    kind: str
    messages: list[list[Any]] = field(factory=list)
    highest: int = 0

    def start(self) -> None:
        self.driver.login()
        if self.kind not in {"plain", *NOTIFY}:
            self.say("ENABLE " + self.kind)
        self.say("SELECT INBOX")
        if self.kind in NOTIFY:
            which = "selected-delayed" if self.kind == "DELAYED" else "selected"
            self.say(f"NOTIFY SET ({which} (MessageNew (uid flags) MessageExpunge FlagChange))")
        self.say("UID FETCH 1:* (FLAGS)")

    def say(self, line: str) -> bytes:
        """Send a command and take in the answers. @return: the tagged one."""
        answers = self.driver.command(line)
        command = line.split(maxsplit=1)[0]
        (end,) = (at for at, answer in enumerate(answers) if answer.startswith(b"a"))
        for answer in answers[:end]:
            self.take(answer, may_expunge=command not in {"FETCH", "STORE", "SEARCH"})
        silent = SILENT.fullmatch(line)
        if silent and b" OK " in answers[end]:
            # Here nothing happens between the two, so it is the same as changing its copy before.
            self.silently(silent)
        # RFC 5465 section 3.1: after NOTIFY something can be said between commands.
        self.assert_quiet(answers[end + 1 :])
        for answer in answers[end + 1 :]:
            self.take(answer, may_expunge=self.kind != "DELAYED")
        return answers[end]

    def assert_quiet(self, answers: list[bytes]) -> None:
        """Only who said NOTIFY is told what it did not ask for."""
        assert self.kind in NOTIFY or not answers, answers

    def take(self, answer: bytes, *, may_expunge: bool = True) -> None:
        words = answer.split()
        if words[0] != b"*":
            return
        if words[1] == b"VANISHED":
            assert may_expunge, answer
            if words[2] == b"(EARLIER)":
                return
            assert self.kind == "QRESYNC", answer
            for low, high in SequenceSet.parse(words[2]).ranges:
                for uid in range(low, high + 1):
                    self.vanished(uid)
            return
        if len(words) < 3:
            return
        if words[2] == b"EXPUNGE":
            assert may_expunge, answer
            assert self.kind != "QRESYNC", answer
            del self.messages[int(words[1]) - 1]
        elif words[2] == b"EXISTS":
            count = int(words[1])
            assert count >= len(self.messages), (answer, len(self.messages))
            self.messages += [[0, None] for _ in range(count - len(self.messages))]
        elif words[2] == b"FETCH":
            known = self.messages[int(words[1]) - 1]
            found, flags = _UID.search(answer), _FLAGS.search(answer)
            if found:
                assert known[0] in {0, int(found[1])}, (answer, known)
                known[0] = int(found[1])
            if flags:
                known[1] = frozenset(flags[1].split())
                if self.kind in {"CONDSTORE", "QRESYNC"} and b"MODSEQ" not in answer:
                    assert found, answer

    def vanished(self, uid: int) -> None:
        at = next((i for i, m in enumerate(self.messages) if m[0] == uid), None)
        if at is None:
            # The client never asked for its UID: it is between those with lower and those with higher UIDs.
            lower = max((i for i, m in enumerate(self.messages) if 0 < m[0] < uid), default=-1)
            at = lower + 1
            assert not self.messages[at][0]
        del self.messages[at]

    def random_step(self, dice: random.Random) -> None:
        if self.kind == "QRESYNC" and not all(m[0] for m in self.messages):
            # Told of expunges by UID, it must know which message has which.
            self.say("UID FETCH 1:* (FLAGS)")
        count = len(self.messages)
        # With SELECTED, sequence numbers can change at any time.
        uid = "UID " if self.kind == "SELECTED" else dice.choice(("", "UID "))
        if uid:
            uids = [m[0] for m in self.messages if m[0]]
            which = (
                ",".join(str(dice.choice([*uids, 1, 40])) for _ in range(3)) if dice.random() < 0.7 else "1:*"
            )
        elif not count:
            which = ""
        else:
            low, high = sorted((dice.randint(1, count), dice.randint(1, count)))
            which = f"{low}:{high}"
        flag = dice.choice(("\\Seen", "\\Deleted", "\\Deleted", "\\Flagged", "$Work"))
        lines = [
            "NOOP",
            "EXPUNGE",
            "APPEND INBOX {12+}\r\nSubject: x\r\n",
            "APPEND INBOX (\\Deleted) {12+}\r\nSubject: x\r\n",
            "CHECK",
            "STATUS INBOX (MESSAGES)",
        ]
        if which:
            lines += [
                f"{uid}STORE {which} {dice.choice('+-')}FLAGS ({flag})",
                f"{uid}STORE {which} +FLAGS.SILENT ({flag})",
                f"{uid}STORE {which} FLAGS ({flag})",
                f"{uid}FETCH {which} (UID FLAGS)",
                f"{uid}FETCH {which} BODY[]",
                f"{uid}SEARCH {uid}{which} UNSEEN",
                f"{uid}COPY {which} Other",
                f"{uid}COPY {which} INBOX",
                f"{uid}MOVE {which} Other",
                f"{uid}FETCH {which} (UID FLAGS ENVELOPE)",
            ]
            if uid:
                lines.append(f"UID EXPUNGE {which}")
        line = dice.choice(lines)
        if self.kind == "QRESYNC" and not all(m[0] for m in self.messages):
            line = "NOOP"
        if dice.random() < 0.1:
            return self.idle(dice)
        tagged = self.say(line)
        assert b" BAD " not in tagged, (line, tagged)
        return None

    def silently(self, stored: re.Match[str]) -> None:
        """What a client does to its own copy after STORE with SILENT."""
        numbers = SequenceSet.parse(stored[2].encode())
        for number, m in enumerate(self.messages, 1):
            inside = (
                numbers.contains(m[0], 1 << 32) if stored[1] else numbers.contains(number, len(self.messages))
            )
            if stored[1] and not m[0]:
                m[1] = None  # it cannot know whether this was one of them
            elif stored[1] and stored[2].endswith("*") and m is self.messages[-1]:
                inside = True
            if inside and m[1] is not None:
                m[1] |= {stored[3].encode()}

    def idle(self, dice: random.Random) -> None:
        self.driver.received()
        self.driver.send(b"i IDLE\r\n")
        for answer in split_responses(self.driver.received()):
            self.take(answer)

    def flush(self) -> None:
        """What the protocol does when it is told of a change."""
        idling = self.driver.server.state is State.IDLING
        if idling or self.kind in NOTIFY:
            self.driver.flush()
            for answer in split_responses(self.driver.received()):
                self.take(answer, may_expunge=idling or self.kind != "DELAYED")

    def wake(self, dice: random.Random) -> None:
        if self.driver.server.state is State.IDLING:
            self.flush()
            self.driver.send(b"DONE\r\n")
            for answer in split_responses(self.driver.received()):
                self.take(answer)


class Convergence(SynchronousTestCase):
    """For any backend: C{place} says which."""

    def place(self, dice: random.Random) -> Place:
        """A new place for mail, with an INBOX that is empty and a mailbox "Other"."""
        raise NotImplementedError

    def one(self, seed: int) -> None:
        dice = random.Random(seed)
        mail = self.place(dice)
        box = mail.box
        for n in range(dice.randint(0, 8)):
            mail.deliver(b"Subject: %d\r\n\r\nbody\r\n" % n)
        kinds = ("plain", "plain", "CONDSTORE", "QRESYNC", "IMAP4rev2", *NOTIFY)
        clients = [Client(mail.connect(), dice.choice(kinds)) for _ in range(dice.randint(2, 4))]
        for client in clients:
            client.start()
        for _ in range(STEPS):
            client = dice.choice(clients)
            client.wake(dice)
            client.random_step(dice)
            if dice.random() < 0.05:
                mail.deliver(b"Subject: delivered\r\n\r\n")
            for other in clients:
                if dice.random() < 0.5:
                    other.flush()
        for client in clients:
            client.wake(dice)
            client.say("NOOP")
            self.compare(client, box, seed)
            client.say("UID FETCH 1:* (FLAGS)")
            self.assertTrue(all(m[0] for m in client.messages))
            self.compare(client, box, seed)

    def compare(self, client: Client, box: Any, seed: int) -> None:
        self.assertEqual(list(client.driver.server.connection.box.view.uids), list(box.uids), seed)
        self.assertEqual(len(client.messages), len(box.uids), seed)
        for (uid, flags), real, real_flags in zip(client.messages, box.uids, box.flags, strict=True):
            self.assertIn(uid, (0, real), seed)
            if flags is not None:
                self.assertEqual(
                    flags, frozenset(n.encode() for n in real_flags.names), (seed, client.kind, real)
                )


class ConvergenceTests(Convergence):
    def place(self, dice: random.Random) -> Place:
        mail = MemoryMail()
        mail.make("Other")
        box = mail.find("INBOX")
        box.log_limit = dice.choice((0, 2, 1000))
        return Place(lambda: Driver.of(mail), lambda octets: mail.add("INBOX", octets), box)

    def test_all_views_equal_the_store(self) -> None:
        """After random commands in two to four sessions each client's list, kept from untagged responses, is the mailbox."""
        for seed in range(SEEDS):
            self.one(seed)

    def test_flags_are_interned(self) -> None:
        """The test compares by names what the store compares by identity."""
        self.assertIs(MessageFlags.parse(["\\Seen"]), MessageFlags.of(1))
