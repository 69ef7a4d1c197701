"""Who may log in to a sink: anybody, or one user with one password.

::

    AnybodyOr()                                    # PLAIN and LOGIN, whatever is said
    AnybodyOr(Credentials("alice", "secret"))      # and SCRAM
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer

from moxtwisted.sasl.client import Credentials
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Accepted, Failure, Outcome, Reason
from moxtwisted.sasl.scram import SCRAM_MECHANISMS
from moxtwisted.sasl.server import begin
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.replies import Reply

if TYPE_CHECKING:
    from moxtwisted.sasl.credentials import PasswordVerifiers

__all__ = ["AnybodyOr"]

_PASSWORD_ITSELF: Final = ("PLAIN", "LOGIN")
_UNKNOWN: Final = Reply(504, "5.5.4", "authentication mechanism is not on offer")


@implementer(ISASLBackend)
class AnybodyOr:
    """Anybody, or one user.

    :ivar mechanisms: what is offered.
    """

    def __init__(self, user: Credentials | None = None) -> None:
        self._user = user
        self._verifiers: PasswordVerifiers | None = None
        self.mechanisms = (
            _PASSWORD_ITSELF if user is None else (*SCRAM_MECHANISMS, "CRAM-MD5", *_PASSWORD_ITSELF)
        )

    def begin(self, mechanism: str, tls: TLSInfo | None, entropy: Callable[[int], bytes]) -> Any:
        """An exchange, as ``ISMTPHandler.sasl_start`` wants it."""
        from moxtwisted.sasl.credentials import Costs, derive
        from moxtwisted.sasl.decoys import Decoys
        from moxtwisted.sasl.exchange import ServerContext

        # what a test server keeps is worth no work
        costs = Costs(memory_kib=8, passes=1, sha256_iterations=4096, sha1_iterations=4096)
        if self._user is not None and self._verifiers is None:
            self._verifiers = derive(self._user.password, entropy, cram_md5=True, costs=costs)
        bindings = tls.channel_bindings if tls is not None else {}
        context = ServerContext(self, entropy, Decoys(entropy(16), costs), bindings, bool(bindings))
        return begin(mechanism, self.mechanisms, context) or _UNKNOWN

    def _right(self, username: str, password: str) -> bool:
        user = self._user
        if user is None:
            return True
        known = hmac.compare_digest(user.username.encode(), username.encode("utf-8", "replace"))
        return hmac.compare_digest(user.password.encode(), password.encode("utf-8", "replace")) and known

    async def verifiers(self, username: str, mechanism: str) -> PasswordVerifiers | Failure | None:
        """See ``ISASLBackend``."""
        return self._verifiers if self._user is not None and username == self._user.username else None

    async def conclude(self, username: str, mechanism: str, refusal: Reason | None) -> Outcome:
        """See ``ISASLBackend``."""
        if refusal is not None:
            return Failure(refusal, username)
        return Accepted(username, username)

    async def check_password(self, username: str, password: str, mechanism: str) -> Outcome:
        """See ``ISASLBackend``."""
        if self._right(username, password):
            return Accepted(username, username)
        return Failure(Reason.BAD_CREDENTIALS, username)

    async def external(self, username: str) -> Outcome:
        """See ``ISASLBackend``."""
        return Failure(Reason.BAD_CREDENTIALS, username)
