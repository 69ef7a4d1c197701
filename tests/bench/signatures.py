"""What it costs to verify and to sign a message of 4 KB: CPU microseconds, the best of five rounds.

::

    python -m tests.bench.signatures
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.dkim.verify import Status, verify
from moxtwisted.mailauth.inflow import MessageHasher

ROUNDS = 5
TIMES = 400
NAMES = (
    *["Received"] * 4, "From", "To", "Subject", "Date", "Message-ID", "Content-Type", "MIME-Version", "X-A", "X-B",
)  # fmt: skip
MESSAGE = (
    "".join(f"{name}: value of the field {i}\r\n" for i, name in enumerate(NAMES))
    + "\r\n"
    + "some line of  text that is not so short \r\n" * 88
).encode()
RULES = SigningRules()


def microseconds(work: Callable[[], Any]) -> float:
    """CPU time of one call."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(TIMES):
            work()
        best = min(best, time.process_time() - started)
    return best / TIMES * 1e6


def signed(key: SigningKey) -> bytes:
    """Hash the message and sign it."""
    hasher = MessageHasher(also=[RULES.body_form])
    hasher.feed(MESSAGE)
    return sign(hasher.finish(), key, RULES, now=1_700_000_000)


def verified(message: bytes, resolver: ZoneResolver) -> Status:
    """Hash a message and verify its signature; the key comes from memory."""
    hasher = MessageHasher()
    hasher.feed(message)
    running = verify(hasher.finish(), resolver, now=1_700_000_000)
    try:
        running.send(None)
    except StopIteration as e:
        status: Status = e.value[0].status
        return status
    raise RuntimeError("the resolver waits")


def main() -> None:
    """Print a line for each kind of key."""
    for kind in ("rsa", "ed25519"):
        key = SigningKey.from_pem("example.org", "s", new_private_key(kind))
        resolver = ZoneResolver({(key.name, "TXT"): [key.record_text().encode()]})
        message = signed(key) + MESSAGE
        if verified(message, resolver) is not Status.PASS:
            raise RuntimeError("what was signed does not verify")
        verifying = microseconds(lambda: verified(message, resolver))  # noqa: B023 -- called at once
        signing = microseconds(lambda: signed(key))  # noqa: B023
        print(f"{kind}: verify {verifying:.0f} us, sign {signing:.0f} us, {len(MESSAGE)} octets")


if __name__ == "__main__":
    main()
