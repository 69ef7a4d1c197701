"""Fuzz DKIM-Signature fields, and messages that bear them.

Whatever the octets: a field is a signature or an error with a place in it, all hashes are the same in any cuts, and no verdict is a pass,
since nobody here has a key.
"""

from __future__ import annotations

from typing import Any

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.signature import Signature, without_signature
from moxtwisted.mailauth.dkim.tags import TagListError
from moxtwisted.mailauth.dkim.verify import Status, verify
from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher
from tests.fuzz.run import alone
from tests.fuzz.watching import within

#: A key of Ed25519 that signed none of the inputs, for every signature.
RECORD = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


class AnyKey(ZoneResolver):
    """Has that record at every name."""

    async def lookup(self, name: str, rrtype: str) -> Any:
        """The record."""
        self.set(name, rrtype, [RECORD])
        return await super().lookup(name, rrtype)


def hashed(data: bytes, size: int) -> HashedMessage:
    """The message in pieces."""
    hasher = MessageHasher()
    for i in range(0, len(data), size):
        hasher.feed(data[i : i + size])
    return hasher.finish()


def verdicts(message: HashedMessage) -> Any:
    """What all signatures are worth."""
    running = verify(message, AnyKey(), now=1_700_000_000)
    try:
        running.send(None)
    except StopIteration as e:
        return e.value
    raise RuntimeError("somebody waits")


def one(data: bytes) -> None:
    """Read octets as a field and as a message; raises when something does not hold."""
    try:
        Signature.parse(data)
    except TagListError as e:
        if not 0 <= e.offset <= len(data):
            raise RuntimeError("the place of an error is not in the field") from e
    if len(without_signature(data)) > len(data):
        raise RuntimeError("a field grew")
    size = data[0] + 1 if data else 1
    whole = within(5000 + 100 * len(data), data, lambda: hashed(data, len(data) or 1))
    cut = hashed(data, size)
    if whole.bodies != cut.bodies or whole.header.fields != cut.header.fields:
        raise RuntimeError("the hashes depend on the cuts")
    if any(verdict.status is Status.PASS for verdict in verdicts(whole)):
        raise RuntimeError("a signature without a key passed")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
