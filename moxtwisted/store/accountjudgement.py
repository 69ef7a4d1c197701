"""What an account knows of senders and of junk. A part of ``moxtwisted.store.accounts.Account``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moxtwisted.identifiers import Domain, DomainError
from moxtwisted.message.addresslist import mailboxes
from moxtwisted.message.headers import Header
from moxtwisted.store import judgements, reputation
from moxtwisted.store.interfaces import Mailbox, Sender
from moxtwisted.store.judgements import Judging
from moxtwisted.store.junkflags import JunkFlags
from moxtwisted.store.lanes import Lane
from moxtwisted.store.learner import Decided, Learner
from moxtwisted.store.ledger import Ledger, Report
from moxtwisted.store.reputation import MOST_RECIPIENTS, Answers, Reputation, destination
from moxtwisted.store.senders import pack_sender

__all__ = ["AccountJudgement"]

_log = Logger()

_EXPERIENCES = count()
_RECIPIENT_FIELDS: Final = (b"to", b"cc", b"bcc")


class AccountJudgement:
    """See ``IAccount``."""

    name: str
    _ledger: Ledger
    _lane: Lane
    _judging: Judging
    _open: Callable[[], Any]
    submit: Callable[..., Deferred[Any]]
    mailbox: Callable[[str], Mailbox | None]
    mailbox_by_id: Callable[[int], Mailbox | None]

    #: What stands for all that is known of senders and of junk now: another number, that never was before, when that may have changed.
    experience: int
    #: What stands for the account while it is open: no other has it, nor the next of the same name.
    opening: int
    _answers: Answers

    #: The organizational domain of a domain, both A-labels in lower case.
    organization: Callable[[str], str]
    decided: Decided | None

    def _begin_to_judge(self) -> None:
        self._judging = Judging()
        self._answers = Answers()
        self.experience = self.opening = next(_EXPERIENCES)
        self.organization = str
        self.decided = None

    def _told_of_judgements(self, report: Report) -> None:
        """What a commit's report says of them."""
        if report.experience:
            self.experience = next(_EXPERIENCES)
            self._answers.forget()
        if report.judgements:
            self._judge()
        if report.decided and self.decided is not None:
            self.decided(self.name, report.decided)

    @property
    def reputation(self) -> Reputation:
        """What it knows of senders."""
        return Reputation(self._open, self.mailbox, self._answers)

    @property
    def junk_flags(self) -> JunkFlags | None:
        """What its mailboxes make of messages."""
        return self._ledger.junk_flags

    def set_junk_flags(self, rules: JunkFlags | None) -> None:
        """From now on its mailboxes make this of messages; None: nothing."""
        self._ledger.junk_flags = rules

    def set_judgement(
        self, rules: JunkFlags | None, learner: Learner | None, organization: Callable[[str], str]
    ) -> None:
        """What the account was opened with, as ``Store`` has it."""
        self.set_junk_flags(rules)
        self.organization = organization
        if learner is not None:
            self.use_learner(learner).addErrback(
                lambda failure: _log.failure("what was learned cannot be looked after", failure)
            )

    def use_learner(self, learner: Learner) -> Deferred[None]:
        """Have this one learn what is junk."""
        return self.submit(judgements.use_learner, learner)

    def relearn(self) -> Deferred[None]:
        """Have the learner forget everything and learn it anew, behind the replies."""
        return self.submit(judgements.relearn)

    def wrote(self, addresses: Iterable[tuple[str, str]], at: int) -> Deferred[None]:
        """Remember that the account wrote to these.

        :param addresses: (local part, domain).
        :param at: seconds since 1970.
        """
        return self.submit(_wrote, self._organized(addresses), at)

    def _organized(self, addresses: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
        found: dict[tuple[str, str, str], None] = {}
        for localpart, text in addresses:
            try:
                domain = Domain.parse(text).ascii
            except DomainError:
                continue
            found[localpart.lower(), domain, self.organization(domain)] = None
            if len(found) == MOST_RECIPIENTS:
                break
        return list(found)

    def sent_to(self, targets: Iterable[int | str], fields: bytes) -> Sequence[tuple[str, str, str]]:
        """Whom a message went to that is put into these mailboxes; nobody, unless one of them is for what was sent.

        :param fields: of its header, those of the recipients among them.
        """
        for target in targets:
            mailbox = self.mailbox(target) if isinstance(target, str) else self.mailbox_by_id(target)
            if mailbox is not None and "\\Sent" in mailbox.special_use:
                values = Header.parse(fields).values
                return self._organized(
                    (address.local.decode("utf-8", "replace"), address.domain.decode("utf-8", "replace"))
                    for name in _RECIPIENT_FIELDS
                    for value in values.get(name, ())
                    for address in mailboxes(value)
                )
        return ()

    def _judge(self) -> None:
        """Something is to be judged."""
        if self._judging.begin():
            self._lane.idle(partial(self._judging.slice, self._ledger))

    def packed_sender(self, sender: Sender | None) -> bytes:
        """What is kept of a sender."""
        if sender is None:
            return b""
        mailbox = self.mailbox(sender.origin)
        return pack_sender(sender, destination(sender.origin) if mailbox is None else mailbox.id)


def _wrote(ledger: Ledger, addresses: Sequence[tuple[str, str, str]], at: int) -> None:
    reputation.wrote(ledger, addresses, at)
