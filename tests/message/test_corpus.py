"""The nasty messages in corpus/: each has its products beside it, written down and read over by people.

After a wanted change, C{python -m tests.message.test_corpus} writes the products anew; look at the difference.
"""

from __future__ import annotations

import itertools
import pathlib
import random
from collections.abc import Callable, Iterator

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.mime import Part, ScannedMessage, Scanner
from moxtwisted.message.partindex import PartIndex
from moxtwisted.message.products import Relatives, Rendered, render
from moxtwisted.message.structure import body_from_bodystructure, render_body
from moxtwisted.message.text import has_attachments, search_text
from tests.message import imapsyntax

CORPUS = pathlib.Path(__file__).parent / "corpus"


def scan(octets: bytes, cuts: Iterator[int] | None = None) -> ScannedMessage:
    """Scan octets, in pieces of the sizes given, each looked at as it comes."""
    scanner = Scanner()
    if cuts is None:
        scanner.feed(octets)
        return scanner.finish()
    position = 0
    while position < len(octets):
        size = next(cuts)
        scanner._needed = 0
        scanner.feed(octets[position : position + size])
        position += size
    return scanner.finish()


def tree(part: Part, octets: bytes, indent: str = "") -> list[str]:
    """A part and those in it, a line each."""
    kind = f"{part.content_type.type}/{part.content_type.subtype}"
    place = f"{part.header_start}-{part.body_start}-{part.body_end}"
    notes = "".join(
        f" {word}"
        for word, holds in (
            ("message", part.message_root),
            ("opaque", part.opaque),
            ("untyped", not part.typed),
        )
        if holds
    )
    body = octets[part.body_start : part.body_end]
    shown = body if len(body) <= 40 else body[:18] + b"..." + body[-18:]
    lines = [f"{indent}{kind} {place} lines={part.lines} {part.encoding}{notes} {shown!r}"]
    for child in part.children:
        lines.extend(tree(child, octets, indent + "  "))
    return lines


def reader(octets: bytes) -> Callable[[int, int], bytes]:
    """What L{render} reads from."""
    return lambda offset, length: octets[offset : offset + length]


def describe(octets: bytes) -> str:
    """The products of a message as text."""
    scanned = scan(octets)
    rendered = render(scanned, reader(octets))
    lines = ["-- parts", *tree(scanned.root, octets), "-- products"]
    for name in (one.name for one in fields(Rendered) if one.name != "parts"):
        value = getattr(rendered, name)
        if isinstance(value, Relatives):
            lines.extend(f"{one.name}: {getattr(value, one.name)!r}" for one in fields(Relatives))
        else:
            lines.append(f"{name}: {value!r}")
    lines += [f"date: {scanned.date!r}", f"attachments: {has_attachments(scanned)!r}"]
    lines.append("-- search text")
    lines.extend(repr(piece) for piece in search_text(scanned, reader(octets)))
    return "\n".join(lines) + "\n"


def messages() -> list[tuple[str, bytes]]:
    """Names and octets of the corpus."""
    return [(path.stem, path.read_bytes()) for path in sorted(CORPUS.glob("*.eml"))]


class CorpusTests(SynchronousTestCase):
    """What is made of each message of the corpus."""

    maxDiff = None

    def test_products(self) -> None:
        """Every message has the products that are written down beside it."""
        for name, octets in messages():
            with self.subTest(name):
                self.assertEqual(describe(octets), (CORPUS / f"{name}.products").read_text("utf-8"))

    def test_cuts(self) -> None:
        """However the octets are cut, the parts are the same."""
        dice = random.Random(1)
        for name, octets in messages():
            whole = tree(scan(octets).root, octets)
            for size in (1, 2, 3, 7):
                self.assertEqual(tree(scan(octets, itertools.repeat(size)).root, octets), whole, name)
            for _ in range(20):
                cuts = iter(lambda: dice.randint(1, 40), None)
                self.assertEqual(tree(scan(octets, cuts).root, octets), whole, name)

    def test_imap_grammar(self) -> None:
        """ENVELOPE, BODYSTRUCTURE and BODY keep to the grammar of RFC 9051."""
        for name, octets in messages():
            with self.subTest(name):
                scanned = scan(octets)
                rendered = render(scanned, reader(octets))
                imapsyntax.check_envelope(imapsyntax.parse(rendered.envelope))
                imapsyntax.check_body(imapsyntax.parse(rendered.bodystructure), extended=True)
                body = render_body(scanned)
                imapsyntax.check_body(imapsyntax.parse(body), extended=False)
                self.assertEqual(body_from_bodystructure(rendered.bodystructure), body)

    def test_index_survives(self) -> None:
        """A part index is the same after it was kept."""
        for _, octets in messages():
            index = PartIndex.of(scan(octets))
            self.assertEqual(PartIndex.decode(index.encode()).records, index.records)


if __name__ == "__main__":
    for name, octets in messages():
        (CORPUS / f"{name}.products").write_text(describe(octets), "utf-8")
