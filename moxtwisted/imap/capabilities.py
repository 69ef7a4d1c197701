"""What CAPABILITY says, before and after login, with and without TLS.

RFC 9051 section 7.2.2: the list depends on the state; AUTH=, STARTTLS and LOGINDISABLED make sense before login only,
and what the operator took away from an account goes after it::

    before_login(settings, mechanisms, tls=False)   -> ("IMAP4rev2", "IMAP4rev1", …, "STARTTLS", "LOGINDISABLED")
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Final

from moxtwisted.imap.settings import ServerSettings

__all__ = [
    "AFTER_LOGIN",
    "CAPABILITIES",
    "NEEDS",
    "OPTIONAL",
    "after_login",
    "before_login",
    "mechanism_allowed",
    "shared",
]

CAPABILITIES: Final = (
    "IMAP4rev2",
    "IMAP4rev1",
    "ENABLE",
    "LITERAL+",
    "IDLE",
    "SASL-IR",
    "BINARY",
    "UNSELECT",
    "UIDPLUS",
    "ESEARCH",
    "SEARCHRES",
    "MOVE",
    "UTF8=ACCEPT",
    "LIST-EXTENDED",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "LIST-STATUS",
    "CHILDREN",
    "NAMESPACE",
    "ID",
    "STATUS=SIZE",
    "APPENDLIMIT",
    "MULTIAPPEND",
    "CONDSTORE",
    "QRESYNC",
    "WITHIN",
    "SAVEDATE",
    "OBJECTID",
    "UIDONLY",
    "MESSAGELIMIT",
    "INPROGRESS",
    "MULTISEARCH",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "PREVIEW",
    "PARTIAL",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "I18NLEVEL=1",
    "LANGUAGE",
    "CATENATE",
    "URL-PARTIAL",  # RFC 5550 section 5.7.1
)
"""What this server can do over any backend, in the order of the announcement; APPENDLIMIT and MESSAGELIMIT get their numbers."""

AFTER_LOGIN: Final = ("COMPRESS=DEFLATE", "UNAUTHENTICATE")
"""What only a user is offered. Compression would show by its length what a password has in common with other text, so it begins
when nothing is said about passwords any more; RFC 8437 section 3 leaves it to us when UNAUTHENTICATE is announced."""

OPTIONAL: Final[tuple[str, ...]] = (
    "SEARCH=FUZZY",
    "REPLACE",
    "NOTIFY",
    "URLAUTH",
    "ACL",
    "RIGHTS=kxte",
    "LIST-MYRIGHTS",
    "METADATA",
    "LIST-METADATA",
    "FILTERS",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
)
"""What it can do when the backend has an interface for it; announced if the authenticator's ``extensions`` name it."""

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    # RFC 9051 appendix E: what was folded into it. Of SPECIAL-USE that is only what attributes mean; of LITERAL+ only LITERAL-,
    # which is done whether or not it is announced.
    "IMAP4rev2": (
        "NAMESPACE",
        "UNSELECT",
        "UIDPLUS",
        "ESEARCH",
        "SEARCHRES",
        "ENABLE",
        "IDLE",
        "SASL-IR",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "MOVE",
        "BINARY",
        "STATUS=SIZE",
    ),
    "UTF8=ACCEPT": ("ENABLE",),
    "UIDONLY": ("ENABLE",),
    "SEARCHRES": ("ESEARCH",),
    "CONTEXT=SEARCH": ("ESEARCH",),
    "CREATE-SPECIAL-USE": ("SPECIAL-USE",),
    "LIST-STATUS": ("LIST-EXTENDED",),
    "QRESYNC": ("CONDSTORE", "ENABLE"),
    "SORT=DISPLAY": ("SORT",),
    "ESORT": ("SORT",),
    # CANCELUPDATE, which both have, is there with CONTEXT=SEARCH.
    "CONTEXT=SORT": ("ESORT", "CONTEXT=SEARCH"),
    "URL-PARTIAL": ("CATENATE",),
    "RIGHTS=kxte": ("ACL",),
    "LIST-MYRIGHTS": ("ACL",),
    "LIST-METADATA": ("METADATA",),
    "FILTERS": ("METADATA",),
    "QUOTA=RES-STORAGE": ("QUOTA",),
    "QUOTA=RES-MESSAGE": ("QUOTA",),
}
"""What is nothing without others: who takes one of those away takes these away with it."""

# RFC 9051 section 6.2.3: mechanisms that show the password need TLS under them.
_PLAIN_TEXT: Final = frozenset({"PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"})


def mechanism_allowed(
    mechanism: str, settings: ServerSettings, *, tls: bool, client_key: bool = False
) -> bool:
    """Whether a SASL mechanism may be used on this connection.

    :param client_key: whether the client showed a TLS client certificate.
    """
    if settings.mechanisms and mechanism not in settings.mechanisms:
        return False
    if mechanism == "EXTERNAL":
        return tls and client_key
    if mechanism.endswith("-PLUS"):
        # RFC 5802 section 6: channel binding needs a channel.
        return tls
    return tls or settings.allow_plain_without_tls or mechanism not in _PLAIN_TEXT


@lru_cache(maxsize=256)
def shared(capabilities: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The list, and the same as a set, APPENDLIMIT and MESSAGELIMIT without their numbers; one pair for all connections that have it."""
    # RFC 7889 section 2, RFC 9738 section 3
    limits = ("APPENDLIMIT=", "MESSAGELIMIT=")
    names = (name.partition("=")[0] if name.startswith(limits) else name for name in capabilities)
    return capabilities, frozenset(names)


def _is_gone(name: str, disabled: frozenset[str]) -> bool:
    return name in disabled or any(_is_gone(needed, disabled) for needed in NEEDS.get(name, ()))


@lru_cache(maxsize=256)
def _all(
    append_limit: int, message_limit: int, disabled: frozenset[str], optional: tuple[str, ...]
) -> tuple[str, ...]:
    """The list without what hangs on the state. A server has few of them, and working one out takes longer than a command."""
    # RFC 7889 section 2: with a number it is the limit for every mailbox.
    numbers = {"APPENDLIMIT": append_limit, "MESSAGELIMIT": message_limit}
    known = [name for name in (*CAPABILITIES, *optional) if not _is_gone(name, disabled)]
    return tuple([f"{name}={numbers[name]}" if name in numbers else name for name in known])


def _supported(extensions: Container[str]) -> tuple[str, ...]:
    return tuple([name for name in OPTIONAL if name in extensions])


def before_login(
    settings: ServerSettings,
    mechanisms: Iterable[str],
    *,
    tls: bool,
    client_key: bool = False,
    extensions: Container[str] = frozenset(),
) -> tuple[str, ...]:
    """Capabilities of a connection without a user.

    :param mechanisms: SASL mechanisms that the authenticator knows, strongest first.
    :param extensions: which of ``OPTIONAL`` the backend supports.
    """
    offered = [
        f"AUTH={m}" for m in mechanisms if mechanism_allowed(m, settings, tls=tls, client_key=client_key)
    ]
    extra = [*offered]
    if not tls and settings.offer_starttls:
        extra.append("STARTTLS")
    if not tls and not settings.allow_plain_without_tls:
        # RFC 9051 section 6.2.3: LOGIN is refused then.
        extra.append("LOGINDISABLED")
    disabled = frozenset(settings.disabled_capabilities)
    limits = settings.limits
    known = _all(limits.append_octets, limits.messages, disabled, _supported(extensions))
    return (*known, *(e for e in extra if e not in disabled))


def after_login(
    settings: ServerSettings,
    append_limit: int,
    disabled: frozenset[str],
    extensions: Container[str] = frozenset(),
) -> tuple[str, ...]:
    """Capabilities of a connection with a user.

    :param append_limit: octets, of this account.
    :param disabled: capabilities that this account shall not see.
    :param extensions: which of ``OPTIONAL`` the backend supports.
    """
    disabled = frozenset(settings.disabled_capabilities) | disabled
    return (
        *_all(append_limit, settings.limits.messages, disabled, _supported(extensions)),
        *(name for name in AFTER_LOGIN if name not in disabled),
    )
