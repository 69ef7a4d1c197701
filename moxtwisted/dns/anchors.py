"""Where trust begins: digests of the keys of the root zone, and of other zones if somebody says so.

::

    ROOT_ANCHORS                                          # what IANA publishes
    TrustAnchors.parse(". IN DS 20326 8 2 E06D44B8…")     # what a file says, as Debian's /usr/share/dns/root.ds

The digests are those of https://data.iana.org/root-anchors/root-anchors.xml (KSK-2017 and KSK-2024), compared with Debian's package
dns-root-data 2024071801~deb12u1. A new key is announced years ahead; it comes with a release, or in a file.
"""

from __future__ import annotations

from attrs import frozen

from moxtwisted.dns.names import ROOT, normalise
from moxtwisted.dns.records import DS

__all__ = ["ROOT_ANCHORS", "TrustAnchors"]


@frozen
class TrustAnchors:
    """Digests of keys that are trusted without proof, by the name of their zone."""

    zones: dict[str, tuple[DS, ...]]

    @classmethod
    def parse(cls, text: str) -> TrustAnchors:
        """Read DS records as zone files have them, one a line; class and TTL may be missing, ``;`` begins a comment.

        :raises ValueError: for a line that is none, or when there is none.
        """
        zones: dict[str, tuple[DS, ...]] = {}
        for line in text.splitlines():
            words = line.split(";", 1)[0].split()
            if not words:
                continue
            try:
                at = [word.upper() for word in words].index("DS")
                tag, algorithm, digest_type = (int(word) for word in words[at + 1 : at + 4])
                digest = bytes.fromhex("".join(words[at + 4 :]))
            except ValueError as e:
                raise ValueError(f"not a DS record: {line.strip()}") from e
            name = normalise(words[0])
            zones[name] = (*zones.get(name, ()), DS(tag, algorithm, digest_type, digest))
        if not zones:
            raise ValueError("no trust anchors")
        return cls(zones)


ROOT_ANCHORS = TrustAnchors(
    {
        ROOT: (
            DS(
                20326, 8, 2, bytes.fromhex("E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D")
            ),
            DS(
                38696, 8, 2, bytes.fromhex("683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16")
            ),
        )
    }
)
