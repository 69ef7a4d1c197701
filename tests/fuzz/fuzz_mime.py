"""Fuzz the scanner of messages and what is rendered from it.

Whatever the octets, everything is rendered, the same in any cuts, and every section lies within the message.
"""

from __future__ import annotations

from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.partindex import PartIndex
from moxtwisted.message.products import Rendered, render
from moxtwisted.message.structure import body_from_bodystructure, render_body
from moxtwisted.message.text import search_text
from tests.fuzz.run import alone
from tests.fuzz.watching import within


def one(data: bytes) -> None:
    """Scan octets whole and cut, and make everything of them; raises when the two differ or anything fails."""
    size = data[0] + 1 if data else 1

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    def scan(size: int) -> tuple[ScannedMessage, Rendered]:
        scanner = Scanner()
        for i in range(0, len(data), size):
            scanner.feed(data[i : i + size])
        scanned = scanner.finish()
        return scanned, render(scanned, read)

    scanned, rendered = within(5000 + 200 * len(data), data, lambda: scan(len(data) or 1))
    if scan(size)[1] != rendered:
        raise RuntimeError("the products depend on the cuts")
    if body_from_bodystructure(rendered.bodystructure) != render_body(scanned):
        raise RuntimeError("BODY is not BODYSTRUCTURE without its extensions")
    index = PartIndex.decode(rendered.parts)
    for name in ("", "HEADER", "TEXT", "1", "1.MIME", "1.1", "2.HEADER", "2.TEXT", "1.2.1"):
        found = index.section(name)
        if found is not None and not 0 <= found[0] <= found[0] + found[1] <= len(data):
            raise RuntimeError("a section lies outside the message")
    for _ in search_text(scanned, read):
        pass


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
