"""What the tables of both files are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

#: What keys that end in _octets and _seconds have; each states both of its bounds, so that nan and inf are out.
Octets = int
Seconds = float
Count = Annotated[int, Meta(ge=1, le=2**31)]
Port = Annotated[int, Meta(ge=0, le=65535)]
#: For one address, its network, its wider network (features of the reference, limits of SMTP).
PerNetwork = tuple[Count, Count, Count]
_SomeOctets = Annotated[int, Meta(ge=1, le=2**62)]
OctetsPerNetwork = tuple[_SomeOctets, _SomeOctets, _SomeOctets]
LevelName = Literal["debug", "info", "warn", "error", "critical"]


class ConfigStruct(Struct, frozen=True, forbid_unknown_fields=True):
    """What all tables of the two files share: read-only, and no key that is not declared."""
