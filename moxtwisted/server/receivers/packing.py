"""Values as octets, and back, with the shape that they must have.

::

    class Point(Shape):
        x: int
        y: int

    octets = pack((1, 2))
    Decoder(Point).decode(octets).y       # 2; a ShapeError, within ``guarded``, when there is anything else

Shapes are written as plain tuples, in the order of their attributes: what msgspec checks while it reads costs less than a look at each
value afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from moxtwisted.errors import MailError

__all__ = ["MOST", "Shape", "ShapeError", "guarded", "pack"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: The largest number that crosses.
MOST: Final = 2**63 - 1

_encode: Final = msgspec.msgpack.Encoder().encode


class ShapeError(ValueError):
    """What came is not what should have come."""


class Shape(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """How something is written: its attributes one after the other."""


def pack(value: object) -> bytes:
    """Write a value. Of texts, what no octets stand for becomes a question mark."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_writable(value))


def _writable(value: Any) -> Any:
    # Shapes are as deep as they were written down: this ends.
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_writable(key): _writable(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_writable(one) for one in value]
    return value


def guarded(read: Callable[_P, _T]) -> Callable[_P, _T]:
    """What cannot be read raises ``ShapeError``, whatever it is that does not fit."""

    @wraps(read)
    def reading(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return read(*args, **kwargs)
        except ShapeError:
            raise
        except (
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            RecursionError,
            MailError,
            msgspec.MsgspecError,
        ) as e:
            raise ShapeError(f"{read.__name__}: {type(e).__name__}: {e}"[:500]) from e

    return reading
