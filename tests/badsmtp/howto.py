"""The tables of the how-to, for the tests that carry them out."""

from __future__ import annotations

import csv
import re
from pathlib import Path

SMTP = Path(__file__).resolve().parent.parent.parent / "docs" / "howto" / "badsmtp" / "smtp.rst"

_LITERAL = re.compile(r"``(.+?)``")


def table(title: str, page: Path = SMTP) -> list[list[str]]:
    """The rows of a csv-table.

    :raise LookupError: there is none of this title.
    """
    _, found, rest = page.read_text().partition(f".. csv-table:: {title}\n")
    if not found:
        raise LookupError(title)
    lines = []
    for line in rest.splitlines():
        if line and not line.startswith("   "):
            break
        if line.startswith('   "'):
            lines.append(line.strip())
    return [[cell.strip() for cell in row] for row in csv.reader(lines, skipinitialspace=True)]


def literals(cell: str) -> list[str]:
    """What stands between double backquotes."""
    return _LITERAL.findall(cell)
