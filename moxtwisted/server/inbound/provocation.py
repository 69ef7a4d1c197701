"""Addresses that provoke errors, for people who test their own mail programs against a local server.

The end of a local part, in any case, says what happens (as the reference's ``localserve`` has it):

========================  =======================================================
``…temperror``            451
``…permerror``            550
``…timeout``              the answer comes after an hour
``…452``, ``…554``        that code; any 4yz or 5yz
========================  =======================================================

It happens after the message. The word ``rcptto`` moves it to RCPT, ``mailfrom`` (in the sender's address) to MAIL: at the beginning of
the local part, as ``rcptto552``, or behind a separator, as ``you+rcptto552`` and ``you-mailfrom-temperror``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from moxtwisted.address import Path
from moxtwisted.smtp.interfaces import Answer
from moxtwisted.smtp.replies import Reply

__all__ = ["ByLocalpart", "Provocation"]

_TIMEOUT_SECONDS: Final = 3600.0
_SUFFIX: Final = re.compile(r"(temperror|permerror|timeout|[45][0-5][0-9])\Z")
_COMMAND: Final = re.compile(r"(?:\A|[+._-])(mailfrom|rcptto)")


class Provocation:
    """That of a server that means it: nothing is provoked."""

    def at_mail(self, path: Path) -> Answer:
        """No answer of its own."""
        return None

    def at_rcpt(self, path: Path) -> Answer:
        """No answer of its own."""
        return None

    def at_data(self, paths: Sequence[Path]) -> Answer:
        """No answer of its own."""
        return None


@frozen
class ByLocalpart(Provocation):
    """Answers as the local part of an address says."""

    _clock: IReactorTime

    def at_mail(self, path: Path) -> Answer:
        """The error of a sender ``mailfrom…``."""
        return self._answer(path, "mailfrom")

    def at_rcpt(self, path: Path) -> Answer:
        """The error of a recipient ``rcptto…``."""
        return self._answer(path, "rcptto")

    def at_data(self, paths: Sequence[Path]) -> Answer:
        """The error of the first recipient that asks for one, after the message."""
        for path in paths:
            answer = self._answer(path, "")
            if answer is not None:
                return answer
        return None

    def _answer(self, path: Path, command: str) -> Answer:
        """What the address asks for at this command, empty for after the message."""
        localpart = path.address.localpart.lower() if path.address else ""
        where, found = _COMMAND.search(localpart), _SUFFIX.search(localpart)
        if found is None or command != (where[1] if where else ""):
            return None
        what = found[1]
        if what == "timeout":
            late: Deferred[Reply] = deferLater(
                self._clock, _TIMEOUT_SECONDS, lambda: Reply(451, "4.3.0", "this took long, as you asked")
            )
            return late
        code = {"temperror": 451, "permerror": 550}.get(what) or int(what)
        return Reply(code, f"{code // 100}.3.0", "error on request of the address")
