"""A client that believes what it is told: its list of messages, kept from untagged responses alone, has to become the mailbox."""

from __future__ import annotations

import random
import re
from typing import Any

from attrs import define, field

from moxtwisted.imap.states import State
from moxtwisted.imap.testing import Driver, split_responses
from moxtwisted.imap.wire.sequence import SequenceSet

# Clients that said NOTIFY: of the selected mailbox, with expunges at any time or delayed.
NOTIFY = ("SELECTED", "DELAYED")

SILENT = re.compile(r"(UID )?STORE (\S+) \+FLAGS\.SILENT \((\S+)\)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_UID = re.compile(rb"\bUID (\d+)")
_MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")


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
