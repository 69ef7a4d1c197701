"""What dkimpy, another verifier, makes of the signatures that we found wrong.

::

    verifications = await verify(hashed, resolver, now=now)
    if about_to_refuse:
        domains = await second_opinion(octets, hashed.found, verifications, resolver)
        if domains is None or domains:
            ...we do not refuse for it, and tell the operator

dkimpy wants the whole message and takes milliseconds, so it is for those messages that would be refused, and are not larger than
``MAX_OCTETS``. It is asked only where ours is a matter of arithmetic (``ARITHMETIC``); what cannot be read, or is refused by policy or for
its time, stays refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from moxtwisted.dns.answers import IResolver, NoAnswerError
from moxtwisted.dns.names import BadNameError, normalise
from moxtwisted.mailauth.dkim.verify import Reason, Verification
from moxtwisted.mailauth.inflow import FoundSignature

__all__ = ["ARITHMETIC", "MAX_OCTETS", "second_opinion"]

#: Larger messages have no second opinion. dkimpy puts a body into its relaxed form by substitutions that hold the interpreter's lock from
#: beginning to end, also in a thread: 10 ms for this much text, 17 ms for this much of what costs it most (single letters and blanks).
MAX_OCTETS: Final = 200 * 1024
#: The reasons that may be a mistake of ours. What cannot be read is none of them: our policies (fields that must be signed, ``l=``) look
#: at what was read, and dkimpy has none, so a signature made unreadable for us alone would get around them.
ARITHMETIC: Final = frozenset((Reason.BODY, Reason.SIGNATURE, Reason.KEY_SYNTAX, Reason.KEY_MISMATCH))
# dkimpy's patterns take time that is quadratic in these.
_LONG_RUN: Final = re.compile(rb"[ \t]{500}|(?:\r\n){500}")
_MAX_HEADER_OCTETS: Final = 128 * 1024


class _MissingError(Exception):
    """dkimpy wants a record that is not there."""


def _domain_of(message: bytes, index: int, texts: dict[str, bytes | None]) -> str | None:
    """The domain of a signature that dkimpy finds right; empty when it finds it wrong, None when it says nothing.

    :param index: among the signatures of the header, from 0.
    :raises _MissingError: when it wants a record that is not in ``texts``, where None is no record.
    """
    # It is seldom needed.
    import dkim

    def text(name: bytes, timeout: int = 5) -> bytes | None:
        key = name.decode("utf-8", "replace").rstrip(".").lower()
        if key not in texts:
            raise _MissingError(key)
        return texts[key]

    verifier: Any = dkim.DKIM(message, minkey=1024)
    try:
        right = verifier.verify(idx=index, dnsfunc=text)
    except _MissingError:
        raise
    except dkim.DKIMException:
        return ""
    except Exception:  # noqa: BLE001 - a stranger's octets in a stranger's code: whatever it raises, it has no opinion
        return None
    return bytes(verifier.domain).decode("utf-8", "replace").lower() if right else ""


async def _record(resolver: IResolver, name: str) -> bytes | None:
    """The key record for dkimpy, which takes one.

    :raises NoAnswerError: when there is no answer.
    """
    try:
        answer = await resolver.lookup(normalise(name), "TXT")
    except BadNameError:
        return None
    return answer.records[0] if answer.records else None


async def _opinion(
    message: bytes, index: int, texts: dict[str, bytes | None], resolver: IResolver
) -> str | None:
    # It asks for one record a signature.
    for _ in range(2):
        try:
            return _domain_of(message, index, texts)
        except _MissingError as e:
            name = str(e)
        try:
            texts[name] = await _record(resolver, name)
        except NoAnswerError:
            return None
    return None


async def second_opinion(
    message: bytes,
    found: Iterable[FoundSignature],
    verifications: Iterable[Verification],
    resolver: IResolver,
) -> frozenset[str] | None:
    """The domains whose signatures dkimpy finds right and we do not.

    :param message: all of it, line ends CRLF.
    :param found: the signatures that were looked at.
    :param verifications: ours of each, as ``verify`` returns them.
    :param resolver: the one that ours was given; what it said is in its cache.
    :return: empty is agreement. None: there is no second opinion on one of them, which is no agreement.
    """
    doubtful = [
        one.ordinal
        for one, ours in zip(found, verifications, strict=True)
        if ours.reason in ARITHMETIC
        and ours.signature is not None
        and ours.signature.body_form.length is None
    ]
    if not doubtful:
        return frozenset()
    header_end = message.find(b"\r\n\r\n")
    if len(message) > MAX_OCTETS or header_end > _MAX_HEADER_OCTETS or _LONG_RUN.search(message):
        return None
    texts: dict[str, bytes | None] = {}
    domains: set[str] = set()
    for index in doubtful:
        domain = await _opinion(message, index, texts, resolver)
        if domain is None:
            return None
        if domain:
            domains.add(domain)
    return frozenset(domains)
