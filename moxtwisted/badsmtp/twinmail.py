"""The captured messages as mailboxes, for the IMAP twin: one for each address that somebody logged in as.

::

    rooms = Mailrooms(captured, clock, captured_octets=..., captured_messages=...)
    mail = rooms.mail_of("bob@example.org")      # a MemoryMail, whose INBOX follows what comes in

What clients do to messages (flags, copies, expunging) stays in these mailboxes, for as long as they are used; the captured messages stay
what they are. What is no longer captured is expunged from INBOX.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from attrs import define, field

from moxtwisted.badsmtp.captured import Captured
from moxtwisted.badsmtp.interfaces import CapturedMessage
from moxtwisted.errors import OverQuotaError
from moxtwisted.identifiers import INBOX
from moxtwisted.imap.backend import Appended, Incoming
from moxtwisted.imap.memory import MemoryMail, MemoryMailbox

__all__ = ["Mailrooms", "TwinMail"]

_MOST_ADDRESSES: Final = 64
_MOST_MAILBOXES: Final = 100


@define(eq=False)
class Room:
    """What clients may still append, to the mail of all addresses together.

    :ivar octets: so many.
    """

    octets: int = 0


@define(eq=False)
class TwinMail(MemoryMail):
    """Mail in memory with little room for more.

    :ivar most_messages: in all mailboxes.
    :ivar room: that it shares with others.
    :ivar appended: octets that it took of it.
    """

    most_messages: int = 5000
    most_octets: int = 0
    room: Room = field(factory=Room)
    appended: int = 0
    numbers: dict[int, int] = field(factory=dict)
    """UID in INBOX by the number of the captured message."""

    def next_modseq(self) -> int:
        """One more for a change; there is an end to copying."""
        there = sum(len(box.uids) for box in self._boxes.values())
        if there > self.most_messages or (there > len(self.numbers) and self._octets() > self.most_octets):
            raise OverQuotaError
        return super().next_modseq()

    def _octets(self) -> int:
        return sum(len(message.octets) for box in self._boxes.values() for message in box.messages.values())

    def make(self, name: str, special_use: Any = ()) -> MemoryMailbox:
        """Make a mailbox."""
        if len(self._boxes) >= _MOST_MAILBOXES:
            raise OverQuotaError
        return super().make(name, special_use)

    def append(self, mailbox: str, messages: Any) -> Appended:
        """All or none."""
        given: list[Incoming] = list(messages)
        octets = sum(len(piece) for message in given for piece in message.sink.parts)
        if octets > self.room.octets:
            raise OverQuotaError
        self.room.octets -= octets
        self.appended += octets
        return super().append(mailbox, given)

    def keep(self, message: CapturedMessage) -> None:
        """A captured message is in INBOX from now on."""
        if message.number not in self.numbers:
            received = int(message.received.timestamp())
            self.numbers[message.number] = self.add(INBOX, message.content, internaldate=received)

    def follow(self, there: tuple[CapturedMessage, ...]) -> None:
        """Have in INBOX what was captured, but for what somebody expunged here."""
        for message in there:
            self.keep(message)

    def forget(self, numbers: Sequence[int]) -> None:
        """These messages are no longer captured."""
        uids = [uid for number in numbers if (uid := self.numbers.pop(number, None)) is not None]
        if uids:
            self.find(INBOX).remove(uids, super().next_modseq())


class Mailrooms:
    """The mail of all addresses that were asked for lately.

    :param most_messages: that are captured at a time; ``octets`` of them.
    """

    def __init__(self, captured: Captured, clock: Any, *, most_messages: int, octets: int) -> None:
        self._captured = captured
        self._clock = clock
        self._most_messages = most_messages
        self._octets = octets
        # Wherever there is room for what is captured there is some for as much again.
        self._room = Room(octets)
        self._mails: OrderedDict[str, TwinMail] = OrderedDict()
        captured.subscribe(self._arrived)
        captured.watch_removed(self._forgotten)

    def mail_of(self, address: str) -> TwinMail:
        """The mail of an address; of everybody, when it is empty."""
        key = address.lower()
        mail = self._mails.get(key)
        if mail is None:
            mail = TwinMail(
                self._clock.seconds,
                most_messages=5 * self._most_messages + 100,
                most_octets=3 * self._octets,
                room=self._room,
            )
            self._mails[key] = mail
            while len(self._mails) > _MOST_ADDRESSES:
                _, forgotten = self._mails.popitem(last=False)
                self._room.octets += forgotten.appended
        self._mails.move_to_end(key)
        mail.follow(self._captured.messages(recipient=address))
        return mail

    def _forgotten(self, numbers: Sequence[int]) -> None:
        for mail in self._mails.values():
            mail.forget(numbers)

    def _arrived(self, message: CapturedMessage) -> None:
        for address, mail in self._mails.items():
            if mail.sessions and (not address or address in (path.lower() for path in message.forward_paths)):
                mail.keep(message)
