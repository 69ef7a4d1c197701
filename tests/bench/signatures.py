"""What it costs to verify and to sign a message of 4 KB: CPU microseconds, the best of five rounds.

::

    python -m tests.bench.signatures
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.dkim.verify import Status, verify
from moxtwisted.mailauth.inflow import MessageHasher
from moxtwisted.message.headers import Header
from moxtwisted.server.submission.signing import Author, Selector, Signing, SigningPool

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


class _AtOnce:
    """Arithmetic in the reactor's thread."""

    def sign(self, key: SigningKey, octets: bytes) -> Deferred[bytes]:
        """See ``ISigningWork``."""
        done: Deferred[bytes] = Deferred()
        done.callback(key.sign_octets(octets))
        return done


async def _submitted(work: Any, messages: int, at_once: int) -> tuple[float, float]:
    """CPU microseconds of a message with two signatures: of the process, and of the reactor's thread."""
    keys = [SigningKey.from_pem("example.org", kind, new_private_key(kind)) for kind in ("rsa", "ed25519")]
    signing = Signing({"example.org": [Selector(key, RULES) for key in keys]}, work)
    header, blank, body = MESSAGE.partition(b"\r\n\r\n")
    parsed = Header.parse(header + blank)

    async def some() -> None:
        for _ in range(messages // at_once):
            signer = signing.begin(parsed, [Author("alice", "example.org")])
            if signer is None:
                raise RuntimeError("nobody signs")
            signer.feed(body)
            await signer.sign(1_700_000_000)

    process, thread = time.process_time(), time.thread_time()
    await gatherResults([ensureDeferred(some()) for _ in range(at_once)])
    return (time.process_time() - process) / messages * 1e6, (time.thread_time() - thread) / messages * 1e6


def submission(reactor: Any) -> Deferred[None]:
    """Print what both signatures of a submitted message cost, by threads and without."""

    async def work() -> None:
        pool = SigningPool(reactor)
        pool.start()
        try:
            for name, where in (("threads", pool), ("at once", _AtOnce())) * 2:
                process, thread = await _submitted(where, 1600, 8)
                print(f"rsa and ed25519 at submission, {name}: {process:.0f} us, reactor {thread:.0f} us")
        finally:
            pool.stop()

    return Deferred.fromCoroutine(work())


def main() -> None:
    """Print a line for each kind of key, and for both at submission."""
    for kind in ("rsa", "ed25519"):
        key = SigningKey.from_pem("example.org", "s", new_private_key(kind))
        resolver = ZoneResolver({(key.name, "TXT"): [key.record_text().encode()]})
        message = signed(key) + MESSAGE
        if verified(message, resolver) is not Status.PASS:
            raise RuntimeError("what was signed does not verify")
        verifying = microseconds(lambda: verified(message, resolver))  # noqa: B023 -- called at once
        signing = microseconds(lambda: signed(key))  # noqa: B023
        print(f"{kind}: verify {verifying:.0f} us, sign {signing:.0f} us, {len(MESSAGE)} octets")
    task.react(submission)


if __name__ == "__main__":
    main()
