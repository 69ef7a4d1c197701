"""Fuzz ARC: a chain that nobody here sealed never passes, and what is read of it is complete."""

from __future__ import annotations

from typing import Any

from moxtwisted.mailauth.arc import ChainStatus, trusted_results, validate
from tests.fuzz.fuzz_dkim import AnyKey, hashed
from tests.fuzz.run import alone
from tests.fuzz.watching import within


def judged(data: bytes) -> Any:
    """What becomes of the chain."""
    running = validate(hashed(data, len(data) or 1), AnyKey())
    try:
        running.send(None)
    except StopIteration as e:
        return e.value
    raise RuntimeError("somebody waits")


def one(data: bytes) -> None:
    """Judge octets as a message; raises when something does not hold."""
    chain = within(10_000 + 200 * len(data), data, lambda: judged(data))
    if chain.status is ChainStatus.PASS:
        raise RuntimeError("a chain without a key passed")
    if [found.instance for found in chain.sets] != list(range(1, len(chain.sets) + 1)):
        raise RuntimeError("the sets are not in order")
    if trusted_results(chain, {found.seal.domain for found in chain.sets}) is not None:
        raise RuntimeError("a chain that did not pass is believed")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
