"""What SEARCH and SORT with RETURN answer (RFC 9051 section 6.4.4, RFC 9394 section 3), as the model has it."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from tests.imap.told import compact

_SOME = frozenset({"MIN", "MAX"})


def options(dice: random.Random) -> list[str]:
    """Some result options that may stand together, without UPDATE and its items."""
    found = dice.sample(("MIN", "MAX", "COUNT", "SAVE", "CONTEXT"), dice.choice((0, 0, 1, 1, 2, 3)))
    how = dice.random()
    if how < 0.3:
        found.append("ALL")
    elif how < 0.7:
        found.append(partial(dice))
    dice.shuffle(found)
    return found


def partial(dice: random.Random) -> str:
    """Some window."""
    sign = dice.choice(("", "-"))
    return f"PARTIAL {sign}{dice.randint(1, 9)}:{sign}{dice.randint(1, 9)}"


def window(option: str, results: Sequence[int]) -> list[int]:
    """The results that PARTIAL wants, in their order."""
    first, last = map(int, option.split()[1].split(":"))
    found = []
    for at, result in enumerate(results):
        n = at + 1 if first > 0 else at - len(results)
        if min(first, last) <= n <= max(first, last):
            found.append(result)
    return found


def _partial_of(returns: Collection[str]) -> str | None:
    return next((option for option in returns if option.startswith("PARTIAL")), None)


def answered(returns: Collection[str], results: Sequence[int]) -> str:
    """What stands in an ESEARCH response.

    @param results: numbers or UIDs, in their order.
    """
    parts = []
    if results:
        parts += [f"MIN {results[0]}"] * ("MIN" in returns) + [f"MAX {results[-1]}"] * ("MAX" in returns)
        parts += [f"ALL {compact(results, ordered=True)}"] * ("ALL" in returns)
    if (wanted := _partial_of(returns)) is not None:
        told = compact(window(wanted, results), ordered=True)
        parts.append(f"PARTIAL ({wanted.split()[1]} {told or 'NIL'})")
    parts += [f"COUNT {len(results)}"] * ("COUNT" in returns)
    return "".join(" " + part for part in parts)


def saved(returns: Collection[str], results: Sequence[int]) -> list[int]:
    """UIDs that C{$} has after SAVE (RFC 9394 section 3.2)."""
    wanted = _partial_of(returns)
    if "ALL" in returns or "COUNT" in returns or (wanted is None and _SOME.isdisjoint(returns)):
        return sorted(results)
    found = {*results[: "MIN" in returns], *(results[-1:] if "MAX" in returns else ())}
    return sorted(found | set(window(wanted, results) if wanted else ()))
