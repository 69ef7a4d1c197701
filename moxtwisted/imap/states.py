"""Which command may be said when: one table.

RFC 9051 section 3 has four states; IDLE makes a fifth, in which a client can only say DONE. Beside the states a command
may need a capability (that the operator can take away from an account), and it may or may not have untagged EXPUNGE
responses among its answers::

    refusal(Fetch, State.AUTHENTICATED, capabilities)      -> "FETCH needs a selected mailbox"
    expunge_allowed(Fetch(b"a", …, uid=False))             -> False
"""

from __future__ import annotations

from collections.abc import Container
from enum import Enum
from typing import Final

from attrs import frozen

from moxtwisted.imap.wire import aclcommands as access
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import mailboxcommands as m
from moxtwisted.imap.wire import urlcommands as urls
from moxtwisted.imap.wire.searchkeys import SearchKey, names_numbers

__all__ = ["TABLE", "Rule", "State", "expunge_allowed", "refusal"]


class State(Enum):
    """RFC 9051 section 3, and IDLE."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    IDLING = "idling"
    LOGOUT = "logout"


@frozen
class Rule:
    """What a command needs.

    :ivar states: where it may be said.
    :ivar capability: what must be on offer at that moment, or empty.
    :ivar expunge: whether untagged EXPUNGE may be sent before its tagged response even when it is in its form with
        sequence numbers.
    """

    states: frozenset[State]
    capability: str = ""
    expunge: bool = True


_ANY: Final = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})
_NOT_AUTHENTICATED: Final = frozenset({State.NOT_AUTHENTICATED})
_AUTHENTICATED: Final = frozenset({State.AUTHENTICATED, State.SELECTED})
_SELECTED: Final = frozenset({State.SELECTED})

TABLE: Final[dict[type[c.Command], Rule]] = {
    # RFC 9051 section 6.1 and RFC 2971
    c.Capability: Rule(_ANY),
    c.Noop: Rule(_ANY),
    c.Logout: Rule(_ANY),
    c.Id: Rule(_ANY, "ID"),
    # RFC 5255 section 3.1
    m.Language: Rule(_ANY, "LANGUAGE"),
    # section 6.2; LOGIN and STARTTLS have conditions of their own beside the capability
    c.StartTLS: Rule(_NOT_AUTHENTICATED, "STARTTLS"),
    c.Authenticate: Rule(_NOT_AUTHENTICATED),
    c.Login: Rule(_NOT_AUTHENTICATED),
    # section 6.3
    c.Enable: Rule(_AUTHENTICATED, "ENABLE"),
    c.Compress: Rule(_AUTHENTICATED, "COMPRESS=DEFLATE"),
    c.Unauthenticate: Rule(_AUTHENTICATED, "UNAUTHENTICATE"),
    c.Select: Rule(_AUTHENTICATED),
    c.Create: Rule(_AUTHENTICATED),
    c.Delete: Rule(_AUTHENTICATED),
    c.Rename: Rule(_AUTHENTICATED),
    c.Subscribe: Rule(_AUTHENTICATED),
    c.Unsubscribe: Rule(_AUTHENTICATED),
    c.List: Rule(_AUTHENTICATED),
    c.Lsub: Rule(_AUTHENTICATED),
    c.Namespace: Rule(_AUTHENTICATED, "NAMESPACE"),
    c.Status: Rule(_AUTHENTICATED),
    m.GetMetadata: Rule(_AUTHENTICATED, "METADATA"),
    m.SetMetadata: Rule(_AUTHENTICATED, "METADATA"),
    m.GetQuota: Rule(_AUTHENTICATED, "QUOTA"),
    m.GetQuotaRoot: Rule(_AUTHENTICATED, "QUOTA"),
    m.SetQuota: Rule(_AUTHENTICATED, "QUOTA"),
    c.Append: Rule(_AUTHENTICATED),
    c.Idle: Rule(_AUTHENTICATED, "IDLE"),
    c.Notify: Rule(_AUTHENTICATED, "NOTIFY"),
    c.Done: Rule(frozenset({State.IDLING})),
    # section 6.4
    c.Check: Rule(_SELECTED),
    c.Close: Rule(_SELECTED),
    c.Unselect: Rule(_SELECTED, "UNSELECT"),
    c.Expunge: Rule(_SELECTED),
    c.UIDExpunge: Rule(_SELECTED, "UIDPLUS"),
    # RFC 9051 section 7.5.1: no EXPUNGE while FETCH, STORE or SEARCH is answered; their UID forms are other commands.
    c.Search: Rule(_SELECTED, expunge=False),
    # RFC 7377 section 2.2: whether it needs a selected mailbox depends on what it searches.
    c.MultiSearch: Rule(_AUTHENTICATED, "MULTISEARCH"),
    c.CancelUpdate: Rule(_SELECTED, "CONTEXT=SEARCH"),
    # RFC 5256 section 3: nor while SORT and THREAD are; which THREAD= there must be depends on the algorithm.
    c.Sort: Rule(_SELECTED, "SORT", expunge=False),
    c.Thread: Rule(_SELECTED, expunge=False),
    c.Fetch: Rule(_SELECTED, expunge=False),
    c.Store: Rule(_SELECTED, expunge=False),
    c.Copy: Rule(_SELECTED),
    c.Move: Rule(_SELECTED, "MOVE"),
    c.Replace: Rule(_SELECTED, "REPLACE"),
    # RFC 4314 section 3
    urls.ResetKey: Rule(_AUTHENTICATED, "URLAUTH"),
    urls.GenURLAuth: Rule(_AUTHENTICATED, "URLAUTH"),
    urls.URLFetch: Rule(_AUTHENTICATED, "URLAUTH"),
    access.SetACL: Rule(_AUTHENTICATED, "ACL"),
    access.DeleteACL: Rule(_AUTHENTICATED, "ACL"),
    access.GetACL: Rule(_AUTHENTICATED, "ACL"),
    access.ListRights: Rule(_AUTHENTICATED, "ACL"),
    access.MyRights: Rule(_AUTHENTICATED, "ACL"),
}
"""Every command and what it needs."""


def refusal(command: type[c.Command], state: State, capabilities: Container[str]) -> str | None:
    """Why a command may not be said now (text for a BAD), or None when it may.

    :param capabilities: what is on offer at this moment.
    """
    rule = TABLE.get(command)
    if rule is None:
        return "unknown command"
    if state not in rule.states:
        return f"{command.name} {_WHY[min(rule.states, key=_ORDER.index)]}"
    if rule.capability and rule.capability not in capabilities:
        return f"{command.name} is not available now"
    return None


def expunge_allowed(command: c.Command) -> bool:
    """Whether untagged EXPUNGE may be among the responses to this command."""
    rule = TABLE.get(type(command))
    if rule is None or rule.expunge:
        return rule is not None
    if not getattr(command, "uid", False):
        return False
    # RFC 7162 section 3.2.10.2: nor while a UID SEARCH is answered that has sequence numbers among its keys.
    key: SearchKey | None = getattr(command, "key", None)
    return key is None or not names_numbers(key)


_ORDER: Final = (
    State.NOT_AUTHENTICATED,
    State.AUTHENTICATED,
    State.SELECTED,
    State.IDLING,
    State.LOGOUT,
)
_WHY: Final = {
    State.NOT_AUTHENTICATED: "is only for before login",
    State.AUTHENTICATED: "needs a login first",
    State.SELECTED: "needs a selected mailbox",
    State.IDLING: "is only for the end of IDLE",
}
