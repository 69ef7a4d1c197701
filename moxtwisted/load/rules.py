"""What a sink does to commands besides taking them: refusals and delays, some of the time.

::

    rules = Rules()
    rules.refuse(Fate.SOFT, "RCPT:10,MAIL")        # a tenth of all RCPT, and every MAIL
    rules.delay("DATA:0.5")                        # half a second before each answer to DATA
    rules.draw("RCPT", random)                     # Drawn(fate=Fate.SOFT or None, seconds=0.0)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

from attrs import define, field, frozen

from moxtwisted.errors import MailError

__all__ = ["COMMANDS", "Drawn", "Fate", "Rules", "RulesError"]

#: What rules can be about; ``CONNECT`` is the connection, ``.`` the end of a message.
COMMANDS: Final = (
    "CONNECT", "HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", ".", "RSET", "NOOP", "VRFY", "QUIT",
)  # fmt: skip

_LONGEST_SECONDS: Final = 3600.0
#: How often the dice are rolled for a delay with odds.
_MOST_ROLLS: Final = 100


class RulesError(MailError):
    """A rule cannot be read; ``detail`` says why."""

    public_text = "a rule is COMMAND, COMMAND:PERCENT or, for delays, COMMAND:SECONDS[:ODDS]"


class Fate(Enum):
    """What becomes of a command that is not taken."""

    SOFT = "refused with 4yz"
    HARD = "refused with 5yz"
    CLOSE = "the connection is closed without a reply"
    GOODBYE = "421, and the connection is closed"


@frozen
class Drawn:
    """What one command gets.

    :ivar fate: None = it is taken.
    :ivar seconds: the answer waits so long.
    """

    fate: Fate | None = None
    seconds: float = 0.0


@define
class _Rule:
    fates: list[tuple[float, Fate]] = field(factory=list)
    seconds: float = 0.0
    odds: float = 0.0


class Rules:
    """Rules for commands; none at first."""

    def __init__(self) -> None:
        self._rules: dict[str, _Rule] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __contains__(self, command: str) -> bool:
        return command in self._rules

    def refuse(self, fate: Fate, text: str) -> None:
        """Commands, separated by commas or spaces, each with the percentage of times that it gets this (without one: always).

        :raise RulesError: this is no such thing, or the percentages of a command are more than 100.
        """
        for word in re.split(r"[,\s]+", text.strip(", \t")):
            name, _, percent = word.partition(":")
            fates = self._rule(name).fates
            fates.append((_number(percent.removesuffix("%") or "100", word, 100.0), fate))
            if sum(percent for percent, _ in fates) > 100.0:
                raise RulesError(f"{word}: more than 100 percent")

    def delay(self, text: str) -> None:
        """``COMMAND:SECONDS``, or ``COMMAND:SECONDS:ODDS``: then the seconds as often as a dice with 100 faces has to be rolled until it
        shows ODDS or more.

        :raise RulesError: this is no such thing.
        """
        # "." is a command and stands in numbers, ":" only separates
        name, _, rest = text.partition(":")
        seconds, _, odds = rest.partition(":")
        rule = self._rule(name)
        rule.seconds = _number(seconds, text, _LONGEST_SECONDS)
        rule.odds = _number(odds, text, 99.0) if odds else 0.0

    def _rule(self, name: str) -> _Rule:
        command = name.upper()
        if command not in COMMANDS:
            raise RulesError(f"{name!r} is none of {' '.join(COMMANDS)}")
        return self._rules.setdefault(command, _Rule())

    def draw(self, command: str, random: Callable[[], float]) -> Drawn | None:
        """What a command gets this time; None when nothing is said about it.

        :param random: gives numbers from 0 to below 1.
        """
        rule = self._rules.get(command)
        if rule is None:
            return None
        seconds = rule.seconds
        if rule.odds:
            rolls = 1
            while random() * 100 < rule.odds and rolls < _MOST_ROLLS:
                rolls += 1
            seconds *= rolls
        at = random() * 100 if rule.fates else 0.0
        for percent, fate in rule.fates:
            if at < percent:
                return Drawn(fate, seconds)
            at -= percent
        return Drawn(None, seconds)


def _number(text: str, whole: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        raise RulesError(f"{whole!r}: {text!r} is no number") from None
    if not 0.0 <= number <= most:
        raise RulesError(f"{whole!r}: a number from 0 to {most:g} is needed")
    return number
