"""Verifiers for users who do not exist.

SCRAM shows the salt before anything was proved. A server that made up a new salt for an unknown user at
each try, or refused right away, would tell who exists. Here the salt follows from the name and a secret of
the server, so it is the same every time, and the exchange runs to its end and fails there::

    decoys = Decoys(secret)
    decoys.scram("nobody@example.org", "SHA-256").salt     # always the same 16 octets

A real user gets one salt for every spelling of the name that leads to the account. Made-up salts must agree over the
same spellings, or two exchanges tell who exists: whoever knows what is one name (separators, case) gives ``canonical``.

The secret must outlive restarts, or the salts of unknown users change with each of them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from moxtwisted.sasl import prep
from moxtwisted.sasl.cramkeys import CramContexts
from moxtwisted.sasl.credentials import DEFAULT_COSTS, Costs, ScramVerifier

__all__ = ["Decoys"]


class Decoys:
    """Makes verifiers that no proof fits.

    :param secret: at least 16 octets that nobody else knows and that stay the same.
    :param costs: what real verifiers are made with, so that the iteration counts agree.
    :param canonical: one form for all the spellings that would be one user, if there were such a user; it gets what
        the peer sent and must not raise. The default knows only that case and width do not matter.
    """

    def __init__(
        self, secret: bytes, costs: Costs = DEFAULT_COSTS, canonical: Callable[[str], str] | None = None
    ) -> None:
        if len(secret) < 16:
            raise ValueError("the decoy secret needs 16 octets or more")
        self._secret = secret
        self._costs = costs
        self._canonical = canonical or _case_mapped

    def scram(self, username: str, algorithm: str) -> ScramVerifier:
        """Keys for a SCRAM exchange with a user who has none.

        :param username: as the peer sent it; names that are the same login get the same salt.
        :param algorithm: ``"SHA-256"`` or ``"SHA-1"``.
        """
        name = "sha256" if algorithm == "SHA-256" else "sha1"
        iterations = self._costs.sha256_iterations if algorithm == "SHA-256" else self._costs.sha1_iterations
        return ScramVerifier(
            salt=self._stretch("salt " + algorithm, username, "sha256")[:16],
            iterations=iterations,
            stored_key=self._stretch("stored key", username, name),
            server_key=self._stretch("server key", username, name),
        )

    def cram(self, username: str) -> CramContexts:
        """Contexts for a CRAM-MD5 exchange with a user who has none."""
        octets = self._stretch("cram", username, "sha256")
        return CramContexts(octets[:16], octets[16:])

    def _stretch(self, purpose: str, username: str, name: str) -> bytes:
        text = f"{purpose}\0{self._canonical(username)}"
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), name)


def _case_mapped(username: str) -> str:
    try:
        return prep.username_case_mapped(username)
    except prep.PreparationError:  # no user has such a name; as it came is as good
        return username
