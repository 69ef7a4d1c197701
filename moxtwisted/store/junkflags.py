"""Flags that a message gets from where it is put: who moves a message to Junk says that it is junk.

::

    rules = JunkFlags(junk="^(junk|spam)", neutral="^(inbox|postmaster)")
    rules.rule(("Spam", ""))                                    # "junk"
    rules.rule(("INBOX", ""))                                   # "neutral"
    rules.rule(("Archive/2024", ""))                            # "not_junk": what is not the one nor the other is the third
    rules.rule_from(("Spam", ""), ("INBOX", ""))                # "not_junk"
    rules.applied("junk", (SEEN, "$NotJunk"))                   # (SEEN, "$Junk")

This happens whenever a message comes into a mailbox: delivered, appended, copied or moved. The flags can be changed afterwards as all
flags.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from attrs import define, field

from moxtwisted.message.flags import MessageFlags

__all__ = ["DEFAULT_JUNK", "DEFAULT_NEUTRAL", "JunkFlags", "RawFlags"]

#: A flag combination as the database has it: bits and keywords separated by spaces.
RawFlags = tuple[int, str]

#: What fits the mailboxes of a new account.
DEFAULT_JUNK: Final = "^(junk|spam)"
DEFAULT_NEUTRAL: Final = "^(inbox|introbox|neutral|postmaster|dmarc|tlsrpt|rejects)"

Rule = Literal["junk", "neutral", "not_junk"]
#: Name and special uses of a mailbox, these separated by spaces.
Place = tuple[str, str]

#: All words for it, in lower case; with the rule that has this one written.
_WORDS: Final = frozenset(("$junk", "junk", "$notjunk", "notjunk", "nonjunk"))
_WRITTEN: Final[dict[Rule, str]] = {"junk": "$Junk", "not_junk": "$NotJunk"}
_MOST_REMEMBERED: Final = 10_000


def _pattern(text: str) -> re.Pattern[str] | None:
    return re.compile(text) if text else None


@define(eq=False)
class JunkFlags:
    """What the mailboxes of an account make of messages.

    :ivar junk: regular expression, searched for in the mailbox's name in lower case; empty: not set. The others likewise, in the order of
        their going. When two of the three are set, the third matches what neither does.
    :ivar waiting: names in lower case of mailboxes that are neutral unless a pattern matches them: where refused mail lies, or mail waits.
    :raises re.error: for what is no regular expression.
    """

    junk: str = DEFAULT_JUNK
    neutral: str = DEFAULT_NEUTRAL
    not_junk: str = ""
    waiting: frozenset[str] = frozenset()
    _rules: tuple[tuple[Rule, re.Pattern[str] | None], ...] = field(init=False)
    _otherwise: Rule | None = field(init=False)
    _by_mailbox: dict[Place, Rule | None] = field(factory=dict, init=False)
    _flags: dict[tuple[Rule, RawFlags], RawFlags] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._rules = (
            ("junk", _pattern(self.junk)),
            ("neutral", _pattern(self.neutral)),
            ("not_junk", _pattern(self.not_junk)),
        )
        unset = [rule for rule, pattern in self._rules if pattern is None]
        self._otherwise = unset[0] if len(unset) == 1 else None

    def rule(self, mailbox: Place) -> Rule | None:
        """What a mailbox makes of messages that come from outside; None: nothing."""
        try:
            return self._by_mailbox[mailbox]
        except KeyError:
            if len(self._by_mailbox) >= _MOST_REMEMBERED:
                self._by_mailbox.clear()
            found = self._by_mailbox[mailbox] = self._rule(mailbox[0].lower(), mailbox[1].lower().split())
            return found

    def _rule(self, name: str, uses: list[str]) -> Rule | None:
        # RFC 6154 section 2: the mailbox for junk, whatever it is called.
        if "\\junk" in uses:
            return "junk"
        for rule, pattern in self._rules:
            if pattern is not None and pattern.search(name):
                return rule
        if name in self.waiting:
            return "neutral"
        # We leave what goes into the trash as it was, unless a pattern says something else: people delete junk, too.
        return None if "\\trash" in uses else self._otherwise

    def delivered(self, mailbox: Place, flags: RawFlags, *, judged: bool) -> RawFlags:
        """The flags of a message that comes with these from outside.

        :param judged: whether it is a stranger's, and the server itself chose the mailbox: what it set aside is junk for nobody's
            filter and reputation before somebody says so, or it would learn from itself.
        """
        rule = self.rule(mailbox)
        return self.applied("neutral" if judged and rule == "junk" else rule, flags)

    def rule_from(self, source: Place, target: Place) -> Rule | None:
        """What a mailbox makes of messages that somebody puts there out of another."""
        rule = self.rule(target)
        if (
            rule == "neutral"
            and target[0] == "INBOX" != source[0]
            and self.rule(source) in {"junk", "neutral"}
        ):
            # Out of the junk, the rejects, or where strangers' mail waits: somebody was looking for it.
            return "not_junk"
        return rule

    def applied(self, rule: Rule | None, flags: RawFlags) -> RawFlags:
        """The flags of a message that comes with these into a mailbox with this rule."""
        if rule is None:
            return flags
        known = self._flags.get((rule, flags))
        if known is None:
            if len(self._flags) >= _MOST_REMEMBERED:
                self._flags.clear()
            words = [word for word in flags[1].split() if word.lower() not in _WORDS]
            if rule in _WRITTEN:
                words.append(_WRITTEN[rule])
            known = self._flags[rule, flags] = flags[0], " ".join(MessageFlags.of(0, words).keywords)
        return known
