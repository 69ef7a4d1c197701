"""Tables for people, JSON for programs; on standard error what went wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["complain", "counted", "print_report"]


def complain(*lines: str) -> None:
    """Say on standard error what went wrong: each line begins with who says it, and has nothing that a terminal would act on."""
    if sys.stderr is None:
        # It was closed when the program began; print would take standard output, where the results are.
        return
    for line in "\n".join(lines).split("\n"):
        print(f"moxmail: {_printable(line)}", file=sys.stderr)


def counted(number: int, what: str) -> str:
    """``1 message``, ``1,200 messages``."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def print_report(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str = "nothing") -> None:
    """Print a table, a column for each key of the first row."""
    if as_json:
        print(json.dumps(list(rows), indent=2, ensure_ascii=False))
        return
    if not rows:
        print(empty)
        return
    titles = list(rows[0])
    cells = [[_cell(row.get(title)) for title in titles] for row in rows]
    widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]
    for line in [titles, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(_cell(item) for item in value)
    return _printable(str(value))


def _printable(text: str) -> str:
    """Without what a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)
