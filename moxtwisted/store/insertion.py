"""Many rows with few statements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["insert_rows"]

_VALUES: Final = re.compile(r"VALUES (\([?, ]+\))")


def insert_rows(connection: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows with few statements.

    Every step of a statement gives up the GIL and has to win it back from a busy reactor: so 16 rows go
    into one step. Few different lengths, so that all stay in the statement cache.

    :param statement: with ``VALUES (?, …)`` for one row.
    """
    start, end = 0, len(rows)
    for length in (16, 4, 2, 1):
        if end - start < length:
            continue
        many = _multiplied(statement, length)
        while end - start >= length:
            connection.execute(many, [value for row in rows[start : start + length] for value in row])
            start += length


_MULTIPLIED: dict[tuple[str, int], str] = {}


def _multiplied(statement: str, length: int) -> str:
    many = _MULTIPLIED.get((statement, length))
    if many is None:
        values = _VALUES.search(statement)
        if values is None:
            raise ValueError(statement)
        marks = ", ".join([values[1]] * length)
        many = f"{statement[: values.start(1)]}{marks}{statement[values.end(1) :]}"
        _MULTIPLIED[statement, length] = many
    return many
