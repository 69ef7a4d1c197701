"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["counted", "print_report"]


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
    # What a terminal would act on does not reach it.
    return "".join(c if c.isprintable() else "?" for c in str(value))
