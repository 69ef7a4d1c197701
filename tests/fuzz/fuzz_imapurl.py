"""Fuzz IMAP URLs: each is read or refused, and what was read is the same when it is written and read again."""

from __future__ import annotations

import contextlib

from moxtwisted.imap.wire.url import URLError, parse, render
from tests.fuzz.run import alone
from tests.fuzz.watching import within


def urls(data: bytes) -> None:
    """Octets as a URL, with and without a mailbox that it is relative to."""
    text = data.decode("latin-1")
    for base in (None, "A/B"):
        with contextlib.suppress(URLError):
            url = parse(text, base)
            again = parse(render(url))
            for name in ("mailbox", "uid", "section", "partial", "uidvalidity", "host"):
                if getattr(url, name) != getattr(again, name):
                    raise RuntimeError("a URL changes when it is written and read again")
            if url.authorization is not None:
                with contextlib.suppress(URLError):
                    _ = url.authorization.user


def one(data: bytes) -> None:
    """Try one input."""
    within(1500 + 100 * len(data), data, lambda: urls(data))


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
