"""Verifiers for users who do not exist.

SCRAM shows the salt before anything was proved. A server that made up a new salt for an unknown user at
each try, or refused right away, would tell who exists. Here the salt follows from the name and a secret of
the server, so it is the same every time, and the exchange runs to its end and fails there::

    decoys = Decoys(secret)
    decoys.scram("nobody@example.org", "SHA-256").salt     # always the same 16 octets

The secret must outlive restarts, or the salts of unknown users change with each of them.
"""

from __future__ import annotations

import contextlib
import hmac

from moxtwisted.sasl import prep
from moxtwisted.sasl.cramkeys import CramContexts
from moxtwisted.sasl.credentials import DEFAULT_COSTS, Costs, ScramVerifier

__all__ = ["Decoys"]


class Decoys:
    """Makes verifiers that no proof fits.

    :param secret: at least 16 octets that nobody else knows and that stay the same.
    :param costs: what real verifiers are made with, so that the iteration counts agree.
    """

    def __init__(self, secret: bytes, costs: Costs = DEFAULT_COSTS) -> None:
        if len(secret) < 16:
            raise ValueError("the decoy secret needs 16 octets or more")
        self._secret = secret
        self._costs = costs

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
        with contextlib.suppress(prep.PreparationError):  # no user has such a name; as it came is as good
            username = prep.username_case_mapped(username)
        return hmac.digest(self._secret, f"{purpose}\0{username}".encode("utf-8", "surrogatepass"), name)
