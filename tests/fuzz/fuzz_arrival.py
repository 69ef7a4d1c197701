"""Fuzz messages while they come in: however they are cut, they are hashed as they came and stored without claims to be ours."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock

from moxtwisted.mailauth.authres import claims
from moxtwisted.mailauth.inflow import MessageHasher
from moxtwisted.message.headers import Header
from moxtwisted.server.inbound.arrival import Arrival, HeaderRefusedError
from moxtwisted.server.intake import Intake, Trouble
from moxtwisted.server.verification.checks import Checks
from moxtwisted.server.verification.opinion import as_it_came
from moxtwisted.store.staging import Staging
from tests.fuzz.run import alone

NAMES = frozenset({"mx.example.org"})
REMOVED = (b"x-spam",)


class Unasked:
    """A verifier of whom nothing is asked."""

    def header_came(self, hashed: MessageHasher) -> None:
        """See ``IVerifier``."""


def arrived(data: bytes, step: int) -> tuple[Arrival, bytes, bytes] | None:
    """The message, its stored octets and those that it came with; None when it is refused."""
    staging = Staging(Path("/nonexistent"), bytes)
    checks = Checks(verifier=Unasked(), own_names=NAMES, removed_fields=REMOVED)  # type: ignore[arg-type]
    sink = Arrival(Intake(staging, Trouble(Clock().seconds)), checks)
    try:
        for start in range(0, len(data), step):
            sink.write(data[start : start + step])
        staged = sink.finish()
    except HeaderRefusedError:
        sink.abort()
        return None
    if sink.hashed is None:
        raise RuntimeError("not hashed")
    return sink, staged.read(0, staged.size), as_it_came(sink.hashed, staged, sink.removed_octets)


def one(data: bytes) -> None:
    """Take octets in, whole and in pieces; raises when something does not hold."""
    if not data:
        return
    step = 1 + data[0] % 50
    whole, pieces = arrived(data, len(data) + 1), arrived(data, step)
    if whole is None or pieces is None:
        if whole is not pieces:
            raise RuntimeError("refused in pieces, or whole, alone")
        return
    if whole[1:] != pieces[1:] or whole[0].hashed is None or pieces[0].hashed is None:
        raise RuntimeError("it depends on the pieces")
    if whole[2] != data:
        raise RuntimeError("not as it came")
    if whole[0].hashed.bodies != pieces[0].hashed.bodies:
        raise RuntimeError("hashes depend on the pieces")
    end = whole[1].find(b"\r\n\r\n")
    left = Header.parse(whole[1][: end + 2] if end >= 0 else whole[1])
    if whole[1].startswith(b"\r\n"):
        return
    for name, values in left.values.items():
        ours = name.startswith((b"x-moxtwisted-", *REMOVED))
        if ours or (name == b"authentication-results" and any(claims(v, NAMES) for v in values)):
            raise RuntimeError("a claim is left")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
