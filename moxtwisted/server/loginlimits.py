"""Who failed to log in too often: one count for all protocols.

::

    limits = LoginLimits(AuthenticationLimits(), clock, entropy, bans)
    if limits.refuses("192.0.2.1"): ...                         # too many from there, nothing is tried
    if limits.known_wrong("192.0.2.1", login, mark): ...      # the same wrong password again: no work needed
    limits.failed("192.0.2.1", login, mark)
    limits.succeeded("192.0.2.1")                               # forgets what this address did

The same wrong password again
-----------------------------
A telephone that nobody told of the new password tries the old one every half a minute, day and night. That guesses
nothing, so it counts a hundredth, and does not lock out everybody else behind the same address; and within a minute after
the password was really looked at, the answer is given from memory, so that counting little does not mean that work costs
little. Of each login name three passwords are known as wrong, to each network of its own, for a day after they came last. They are
known by keyed hashes, under a key that dies with the process.

SCRAM and CRAM-MD5 never show the password: there each failure counts whole.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from attrs import define
from twisted.internet.interfaces import IReactorTime

from moxtwisted.server.ratelimit import (
    AuthenticationLimits,
    IBans,
    Key,
    Networks,
    SlidingWindowLimiter,
    classes,
)

__all__ = ["LoginLimits"]

#: How much a wrong password counts that is known to be wrong.
REPEATED_SHARE: Final = 0.01
#: How many different wrong passwords of one login name are known, and for how long after each came last, seconds.
_PASSWORDS: Final = 3
_REMEMBERED_SECONDS: Final = 86400.0
#: How long an answer holds without another look, seconds.
_FRESH_SECONDS: Final = 60.0
#: Pairs of a network and a login name.
_MAX_PAIRS: Final = 20_000


@define
class _Wrong:
    """A wrong password: when it came last, and when it was looked at last."""

    came: float
    checked: float


class LoginLimits:
    """See the module.

    :param limits: failures that are borne.
    :param clock: gives the time.
    :param entropy: ``entropy(n)`` gives n unpredictable octets.
    :param bans: who goes on is banned there; None: only refused.
    :ivar limiter: the counters.
    """

    def __init__(
        self,
        limits: AuthenticationLimits,
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        bans: IBans | None = None,
    ) -> None:
        self.limiter = SlidingWindowLimiter(limits.windows(), clock)
        self._exempt = Networks(limits.exempt)
        self._clock = clock
        self._key = entropy(32)
        self._bans = bans
        self._generation = 0
        self._wrong: OrderedDict[tuple[Key, bytes], dict[bytes, _Wrong]] = OrderedDict()

    def mark(self, digest: bytes) -> bytes:
        """What a password is known by, as long as no password changes; taken before it is looked at.

        :param digest: from ``Authenticator.digest``.
        """
        return digest + self._generation.to_bytes(8)

    def refuses(self, ip: str) -> bool:
        """Whether nobody there may try now."""
        return not self.limiter.allows(ip) and ip not in self._exempt

    def refused(self, ip: str, login: str, mark: bytes = b"") -> None:
        """Somebody tried all the same."""
        if self._bans is not None and ip not in self._exempt:
            name = self._name(login).hex() if login else ""
            self._bans.failed_login(ip, name, self._share(ip, login, mark))

    def failed(self, ip: str, login: str = "", mark: bytes = b"") -> None:
        """A log-in failed.

        :param login: the name that was tried, as it was typed; empty when there was none.
        :param mark: of the password, from ``mark``; empty when it was not shown.
        """
        if ip in self._exempt:
            return
        share = self._share(ip, login, mark)
        if mark:
            self._note(ip, login, mark)
        self.limiter.add(ip, share)
        if self._bans is not None:
            self._bans.failed_login(ip, self._name(login).hex() if login else "", share)

    def succeeded(self, ip: str) -> None:
        """A log-in succeeded."""
        self.limiter.forgive(ip)
        if self._bans is not None:
            self._bans.welcome(ip)

    def known_wrong(self, ip: str, login: str, mark: bytes) -> bool:
        """Whether this password came from there and was found wrong within the last minute."""
        wrong = self._find(ip, login, mark)
        return wrong is not None and self._clock.seconds() - wrong.checked < _FRESH_SECONDS

    def forget_wrong(self) -> None:
        """A password changed: none is known as wrong any more."""
        self._generation += 1
        self._wrong.clear()

    def _share(self, ip: str, login: str, mark: bytes) -> float:
        return REPEATED_SHARE if self._find(ip, login, mark) is not None else 1.0

    def _find(self, ip: str, login: str, mark: bytes) -> _Wrong | None:
        keys = classes(ip)
        if keys is None or not mark:
            return None
        wrong = self._wrong.get((keys[0], self._name(login)), {}).get(mark)
        if wrong is None or self._clock.seconds() - wrong.came > _REMEMBERED_SECONDS:
            return None
        return wrong

    def _note(self, ip: str, login: str, mark: bytes) -> None:
        """Remember it as wrong. That it was answered from memory does not make it fresh."""
        keys = classes(ip)
        if keys is None:
            return
        now = self._clock.seconds()
        pair = keys[0], self._name(login)
        known = self._wrong.setdefault(pair, {})
        self._wrong.move_to_end(pair)
        if len(self._wrong) > _MAX_PAIRS:
            self._wrong.popitem(last=False)
        wrong = known.pop(mark, None)
        fresh = wrong is not None and now - wrong.checked < _FRESH_SECONDS
        known[mark] = _Wrong(now, wrong.checked if wrong is not None and fresh else now)
        while len(known) > _PASSWORDS:
            del known[next(iter(known))]

    def _name(self, login: str) -> bytes:
        """A login name, however long, in 12 octets."""
        return hmac.digest(self._key, login.encode("utf-8", "surrogatepass"), "sha256")[:12]
