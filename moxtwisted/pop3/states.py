"""In which state which command may be said: RFC 1939 sections 4 to 6, RFC 2449 section 5, RFC 2595 section 4, RFC 5034 section 4."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["TABLE", "State", "allowed"]


class State(Enum):
    """Where the dialogue is."""

    CONNECTED = "connected"
    """Nothing was said yet."""
    AUTHORIZATION = "authorization"
    EXCHANGE = "exchange"
    """In the middle of AUTH: lines are responses."""
    TLS = "tls"
    """A handshake is due."""
    TRANSACTION = "transaction"
    CLOSED = "closed"


_BOTH: Final = frozenset({State.AUTHORIZATION, State.TRANSACTION})
_BEFORE: Final = frozenset({State.AUTHORIZATION})
_AFTER: Final = frozenset({State.TRANSACTION})

TABLE: Final[dict[str, frozenset[State]]] = {
    "CAPA": _BOTH,
    "QUIT": _BOTH,
    "STLS": _BEFORE,
    "USER": _BEFORE,
    "PASS": _BEFORE,
    "AUTH": _BEFORE,
    "STAT": _AFTER,
    "LIST": _AFTER,
    "RETR": _AFTER,
    "DELE": _AFTER,
    "NOOP": _AFTER,
    "RSET": _AFTER,
    "TOP": _AFTER,
    "UIDL": _AFTER,
}


def allowed(verb: str, state: State) -> bool:
    """Whether the command may be said now."""
    return state in TABLE.get(verb, ())
