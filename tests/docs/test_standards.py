"""docs/standards.rst and the citations in the code agree with each other and with the RFCs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "moxtwisted"
RFCS = ROOT.parent / "shared" / "rfc"
LEVELS = {"full", "partial", "none"}

#: ``RFC 5321 section 4.5.3.1.9``, ``RFC 9051 sections 6.3.1``, ``RFC 4648, appendix A``; what follows "section" may be missing.
CITATION = re.compile(
    r"\bRFC ?(\d{3,5})(?:,? (?:(?:sub)?sections?|appendix|§+) ?([A-Z](?:\.\d+)*|\d+(?:\.\d+)*))?"
)


class Row(NamedTuple):
    """A row of the table."""

    rfc: int
    title: str
    level: str
    modules: tuple[str, ...]
    missing: str


class Citation(NamedTuple):
    """Where the code names an RFC, and the section it names, or an empty string."""

    where: str
    rfc: int
    section: str


@cache
def rows() -> tuple[Row, ...]:
    """The table of docs/standards.rst."""
    found = []
    for line in (ROOT / "docs" / "standards.rst").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("   ") and cells[0].isdigit():
            rfc, title, level, modules, missing = cells
            found.append(Row(int(rfc), title, level, tuple(modules.replace(",", " ").split()), missing))
    return tuple(found)


def plain(text: str) -> str:
    """A module's text with its comment marks, quotes and line breaks taken out, so that a wrapped citation is one again."""
    return re.sub(r"\s*\n\s*#?:?\s*", " ", text)


@cache
def citations() -> tuple[Citation, ...]:
    """Every RFC the package names."""

    def search() -> Iterator[Citation]:
        for path in sorted(PACKAGE.rglob("*.py")):
            for found in CITATION.finditer(plain(path.read_text())):
                yield Citation(str(path.relative_to(ROOT)), int(found[1]), found[2] or "")

    return tuple(search())


@cache
def headings(rfc: int) -> frozenset[str] | None:
    """The section numbers that an RFC has, or None when its text is not at hand."""
    path = RFCS / f"rfc{rfc:04}.txt"
    if not path.exists():
        return None
    text = path.read_text(errors="replace")
    numbered = re.findall(r"(?m)^ {0,9}(?:Section )?(\d+(?:\.\d+)*)\.?(?:[ \t]+\S|$)", text)
    lettered = re.findall(r"(?m)^ {0,9}(?:Appendix |APPENDIX )?([A-Z](?:\.\d+)*)(?:[.:)]| -)?[ \t]+\S", text)
    return frozenset(numbered + lettered)


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_rows_are_well_formed(self) -> None:
        """Rows stand in order, once each, with a title, a known level, and words on what is missing wherever it is not full."""
        numbers = [row.rfc for row in rows()]
        self.assertEqual(numbers, sorted(set(numbers)))
        wrong = [
            row.rfc
            for row in rows()
            if not row.title
            or row.level not in LEVELS
            or (row.level == "partial") != bool(row.missing and row.level != "none")
        ]
        self.assertEqual(wrong, [])

    def test_modules_exist(self) -> None:
        """Every row names modules of ours that exist, and names one unless nothing is supported."""
        wrong = []
        for row in rows():
            if not row.modules and row.level != "none":
                wrong.append(f"RFC {row.rfc} names no module")
            for name in row.modules:
                place = PACKAGE.joinpath(*name.split("."))
                if not place.is_dir() and not place.with_suffix(".py").exists():
                    wrong.append(f"RFC {row.rfc}: {name}")
        self.assertEqual(wrong, [])

    def test_titles_are_the_rfcs_own(self) -> None:
        """The words of a row's title stand at the head of that RFC."""
        if not RFCS.is_dir():
            raise SkipTest("needs ../shared/rfc beside the repository")
        wrong = []
        for row in rows():
            path = RFCS / f"rfc{row.rfc:04}.txt"
            if path.exists():
                head = re.sub(r"\W+", "", path.read_text(errors="replace")[:6000]).lower()
                if re.sub(r"\W+", "", row.title).lower() not in head:
                    wrong.append(f"RFC {row.rfc}: {row.title}")
        self.assertEqual(wrong, [])


class CitationTests(SynchronousTestCase):
    """What the code cites."""

    def test_every_cited_rfc_has_its_row(self) -> None:
        """No module names an RFC that the table does not have."""
        known = {row.rfc for row in rows()}
        self.assertEqual(sorted({(c.rfc, c.where) for c in citations() if c.rfc not in known}), [])

    def test_every_cited_section_exists(self) -> None:
        """Each section named beside an RFC's number is a heading of that RFC."""
        if not RFCS.is_dir():
            raise SkipTest("needs ../shared/rfc beside the repository")
        wrong = [
            f"{c.where}: RFC {c.rfc} section {c.section}"
            for c in citations()
            if c.section and (known := headings(c.rfc)) is not None and c.section not in known
        ]
        self.assertEqual(sorted(set(wrong)), [])
