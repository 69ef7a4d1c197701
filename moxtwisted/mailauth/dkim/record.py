"""The record that publishes a key, a TXT at ``selector._domainkey.domain`` (RFC 6376 section 3.6.1).

::

    record = KeyRecord.parse(b"v=DKIM1; k=rsa; t=y; p=MIIB...")
    record.kind, record.testing, record.revoked         # "rsa", True, False
    record.key().bits                                   # 2048
"""

from __future__ import annotations

import binascii
from functools import lru_cache
from typing import Final, Self

from attrs import field, frozen

from moxtwisted.mailauth.dkim.keys import PublicKey, public_key
from moxtwisted.mailauth.dkim.tags import TagList

__all__ = ["KeyRecord", "parse_key_record"]

#: Records up to this many octets are remembered once they were read: a key of 8192 bits has 1404 characters.
_REMEMBERED_OCTETS: Final = 2048


@frozen
class KeyRecord:
    """A record as it was read.

    :ivar kind: the key's type, ``k=``; one that we do not know stays as it is.
    :ivar octets: of ``p=``; none mean that the key was revoked.
    :ivar hashes: the algorithms of ``h=``; empty means any.
    :ivar services: of ``s=``; ``("*",)`` is any.
    :ivar flags: of ``t=``.
    :ivar notes: ``n=``, for people.
    :ivar revoked: whether the key is not to be used any more.
    :ivar testing: whether the domain only tries DKIM out.
    :ivar strict: whether ``i=`` must name the domain of ``d=`` itself.
    :ivar for_reports: whether it is for reports about TLS.
    :ivar for_mail: whether it may be used for mail.
    :ivar for_sha256: whether it may be used with SHA-256.
    """

    kind: str
    octets: bytes
    hashes: tuple[str, ...] = ()
    services: tuple[str, ...] = ("*",)
    flags: frozenset[str] = frozenset()
    notes: str = ""
    revoked: bool = field(init=False, eq=False, repr=False)
    testing: bool = field(init=False, eq=False, repr=False)
    strict: bool = field(init=False, eq=False, repr=False)
    for_reports: bool = field(init=False, eq=False, repr=False)
    for_mail: bool = field(init=False, eq=False, repr=False)
    for_sha256: bool = field(init=False, eq=False, repr=False)

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a record, the strings of its TXT joined.

        :raises TagListError: when it is no key record.
        """
        tags = TagList.parse(text)
        version = tags.get(b"v")
        # RFC 6376 section 3.6.1: v= is optional; when it is there it is the first tag and says DKIM1.
        if version is not None and (version != b"DKIM1" or next(iter(tags.values)) != b"v"):
            raise tags.wrong(b"v", "not DKIM1, or not the first tag")
        if b"p" not in tags.values:
            raise tags.wrong(b"p", "missing")
        octets = tags.base64(b"p") if tags.packed(b"p") else b""
        kind = tags.get(b"k")
        if kind == b"":
            raise tags.wrong(b"k", "empty")
        return cls(
            kind=(kind or b"rsa").decode("latin-1"),
            octets=octets,
            hashes=_words(tags, b"h"),
            services=_words(tags, b"s") or ("*",),
            flags=frozenset(_words(tags, b"t")),
            notes=_decoded(tags.get(b"n") or b""),
        )

    def __attrs_post_init__(self) -> None:
        # Found out once: records are remembered.
        for name, holds in (
            # RFC 6376 section 3.6.1: an empty ``p=`` says that the key is not to be used any more.
            ("revoked", not self.octets),
            # t=y: the domain is trying DKIM out, its mail is as good as not signed.
            ("testing", "y" in self.flags),
            # t=s: ``i=`` must name the domain of ``d=`` itself, none below it.
            ("strict", "s" in self.flags),
            # RFC 8460 section 3.
            ("for_reports", "*" in self.services or "tlsrpt" in self.services),
            ("for_mail", "*" in self.services or "email" in self.services),
            ("for_sha256", not self.hashes or "sha256" in self.hashes),
        ):
            object.__setattr__(self, name, holds)

    def key(self) -> PublicKey:
        """The key itself.

        :raises KeyDataError: when there is none in it.
        """
        return public_key(self.kind, self.octets)


def _words(tags: TagList, name: bytes) -> tuple[str, ...]:
    return tuple(word.decode("latin-1") for word in tags.names(name))


def _decoded(value: bytes) -> str:
    # RFC 6376 section 2.11: quoted-printable of its own, without soft line breaks.
    return binascii.a2b_qp(b"".join(value.split(b"\r\n"))).decode("utf-8", "replace")


_parse_cached = lru_cache(maxsize=1024)(KeyRecord.parse)


def parse_key_record(text: bytes) -> KeyRecord:
    """Read a record as ``KeyRecord.parse``, or know it again.

    :raises TagListError: when it is no key record.
    """
    return _parse_cached(text) if len(text) <= _REMEMBERED_OCTETS else KeyRecord.parse(text)
