"""The header fields that say what was found, and those of others that must not be believed.

::

    trace_fields(results, "mx.example.org")         # Authentication-Results and Received-SPF, to stand above the message
    cleaned(header, {"mx.example.org"}, (b"x-spam",))     # the header without the fields that only we may write

RFC 8601 section 5: a field that claims to be by us and came from outside is a lie, and is removed; those of others stay, for whoever
trusts them. Scanners put no name into their fields, so theirs go by how they are called.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from moxtwisted.mailauth.authres import AuthenticationResults, MethodResult, claims, without_fields
from moxtwisted.mailauth.spf.trace import received_spf
from moxtwisted.message.headers import Header

if TYPE_CHECKING:
    from moxtwisted.mailauth.arc import Chain
    from moxtwisted.mailauth.dkim.verify import Verification
    from moxtwisted.mailauth.dmarc.evaluation import DMARCResult
    from moxtwisted.server.verification.interfaces import Verified

__all__ = ["OWN_PREFIX", "cleaned", "trace_fields", "verdicts"]

#: How the names of fields begin that only we write, in lower case: those of our judgement. Whoever sends them wants a client to
#: believe them.
OWN_PREFIX: Final = b"x-moxtwisted-"
_RESULTS: Final = b"authentication-results"


def cleaned(header: Header, names: Collection[str], prefixes: tuple[bytes, ...] = ()) -> bytes:
    """The octets of a header without the fields that only we may write; the same object when there are none.

    :param names: our own for Authentication-Results, in any case. None at all: those fields stay, whoever they say wrote them.
    :param prefixes: how the names of other fields begin that are removed, in lower case.
    """
    forbidden = (OWN_PREFIX, *prefixes)
    # Nearly all mail has none of them, and a search costs less than a look at each field.
    if _RESULTS not in header.values:
        found = b"\n".join(header.values)
        for prefix in forbidden:
            if found.find(prefix) >= 0:
                break
        else:
            return header.octets

    def unwanted(raw: bytes, name: bytes) -> bool:
        if name == _RESULTS:
            return bool(names) and claims(raw.partition(b":")[2], names)
        return name.startswith(forbidden)

    return without_fields(header, unwanted)


def trace_fields(verified: Verified, authserv_id: str, *, smtputf8: bool = False) -> bytes:
    """What stands above the message, each field ended by CRLF; Authentication-Results first (RFC 8601 section 4.1).

    :param authserv_id: our name in it, and in Received-SPF.
    """
    field = AuthenticationResults(authserv_id, _results(verified)).field(utf8=smtputf8)
    if verified.spf is None:
        return field
    # RFC 7208 section 9.1: above Received of the same host.
    return field + received_spf(verified.spf, authserv_id, smtputf8=smtputf8)


def _results(verified: Verified) -> tuple[MethodResult, ...]:
    results: list[MethodResult] = []
    if verified.iprev is not None:
        results.append(verified.iprev.method_result())
    if verified.spf is not None:
        results.append(verified.spf.method_result())
    if verified.helo_spf is not None:
        results.append(verified.helo_spf.method_result())
    results += [found.method_result() for found in verified.dkim] or [MethodResult("dkim", "none")]
    if verified.arc is not None and verified.arc.sets:
        results.append(verified.arc.method_result())
    if verified.dmarc is not None:
        results.append(_dmarc(verified.dmarc, verified))
    elif verified.author.problem:
        # RFC 7489 section 6.6.1: what names no domain is outside of DMARC; we say why nothing was looked up.
        results.append(MethodResult("dmarc", "permerror", verified.author.problem))
    return tuple(results)


def _dmarc(found: DMARCResult, verified: Verified) -> MethodResult:
    notes = []
    if verified.sealed is not None:
        notes.append(f"sealed by {verified.sealed.sealer}")
    if verified.unconfirmed:
        notes.append("not confirmed")
    return found.method_result(*notes)


# ``_value_`` is what ``value`` of an Enum returns by way of two calls of Python.


def verdicts(verified: Verified) -> dict[str, str]:
    """A word for each method, for the log, from which the metrics are counted."""
    words = {"dmarc": verified.dmarc.verdict._value_ if verified.dmarc is not None else "permerror"}
    if verified.spf is not None:
        words["spf"] = verified.spf.verdict._value_
    if verified.iprev is not None:
        words["iprev"] = verified.iprev.verdict._value_
    words["dkim"] = _best(verified.dkim)
    if verified.arc is not None and verified.arc.sets:
        words["arc"] = _arc(verified.arc)
    return words


def _best(found: tuple[Verification, ...]) -> str:
    """Of several signatures: pass when one passes, else what the first came to."""
    values = [one.status._value_ for one in found]
    return "pass" if "pass" in values else (values[0] if values else "none")


def _arc(chain: Chain) -> str:
    return chain.status._value_
