"""Responses in the form in which those of the model are, and what is the same as what."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence

_FLAGS = re.compile(r"FLAGS \(([^)]*)\)")
_ITEM = re.compile(r"UID \d+|FLAGS \([^)]*\)|MODSEQ \(\d+\)|RFC822\.SIZE \d+|BODY\[\] \{(\d+)\}\r\n")
_STATUS = re.compile(r"(\* )?(OK|NO|BAD)( \[[^\]]*\])?.*", re.DOTALL)
_MAILBOXID = re.compile(r"\[MAILBOXID \([^)]*\)\]")


def plain(response: bytes, tag: bytes) -> str:
    """A response in the form in which those of the model are."""
    text = response.decode()
    if response.startswith(tag + b" "):
        text = text[len(tag) + 1 :]
    status = _STATUS.fullmatch(text)
    if status is not None:
        text = (status[1] or "") + status[2] + (status[3] or "")
        return _MAILBOXID.sub("[MAILBOXID]", _FLAGS.sub(_sorted, text))
    if re.match(r"\* \d+ (UID)?FETCH ", text):
        text = response.decode("latin-1")  # octets are counted
        head, _, rest = text.partition(" (")
        return f"{head} {' '.join(sorted(_items(rest)))}"
    if found := re.fullmatch(r"(\* METADATA \S+) (/.*)", text):
        return f"{found[1]} {' '.join(sorted(found[2].split()))}"
    return _FLAGS.sub(_sorted, text).replace(f' (TAG "{tag.decode()}")', "")


def _items(text: str) -> Iterator[str]:
    """The items of a FETCH response, with the parenthesis that ends it."""
    at = 0
    while text[at:] != ")":
        found = _ITEM.match(text, at)
        assert found is not None, text
        end = found.end() + int(found[1] or 0)
        yield _FLAGS.sub(_sorted, text[at:end])
        at = end + 1 if text[end] == " " else end


def _sorted(found: re.Match[str]) -> str:
    return f"FLAGS ({' '.join(sorted(found[1].split()))})"


class MaybeLine(str):
    """A response in one of several forms, of which an empty one is none. Those that stand together may come in any order."""

    __slots__ = ()

    @classmethod
    def of(cls, forms: Sequence[str]) -> MaybeLine:
        """From all forms."""
        return cls("\0".join(forms))

    @property
    def forms(self) -> Sequence[str]:
        """All forms."""
        return self.split("\0")


def same(said: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether these are the responses that were expected."""
    at = 0
    free: list[MaybeLine] = []
    for line in [*expected, None]:
        if isinstance(line, MaybeLine):
            free.append(line)
            continue
        while free:
            found = next((f for f in free if at < len(said) and said[at] in f.forms), None)
            if found is None:
                break
            free.remove(found)
            at += 1
        if any("" not in f.forms for f in free):
            return False
        free.clear()
        if line is None:
            break
        if at == len(said) or said[at] != line:
            return False
        at += 1
    return at == len(said)


def compact(numbers: Iterable[int], *, ordered: bool = False) -> str:
    """A set as the server writes it.

    @param ordered: whether they stay in their order.
    """
    ranges: list[list[int]] = []
    for n in numbers if ordered else sorted(numbers):
        if ranges and ranges[-1][1] == n - 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in ranges)


def runs(order: Sequence[int], wanted: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Which of these numbers stand side by side: where each run of them begins, from 1, and the run."""
    found: list[tuple[int, list[int]]] = []
    among = set(wanted)
    for at, n in enumerate(order, 1):
        if n not in among:
            continue
        if found and found[-1][0] + len(found[-1][1]) == at:
            found[-1][1].append(n)
        else:
            found.append((at, [n]))
    return found


def modified_utf7(name: str) -> str:
    """A name as it is written before UTF-8 is enabled (RFC 3501 section 5.1.3)."""
    return re.sub(
        "[^ -~]+",
        lambda m: f"&{b64encode(m[0].encode('utf-16-be')).decode().rstrip('=').replace('/', ',')}-",
        name,
    )
