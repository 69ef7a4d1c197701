"""What an operator does to bans of networks: ``moxmail bans``.

The administration of the server derives from ``BanOperations``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from moxtwisted.server.bans import Bans
from moxtwisted.server.control.interfaces import Report

__all__ = ["BanOperations"]


class BanOperations:
    """Lists, adds and lifts bans."""

    @property
    def _bans(self) -> Bans:
        """:raises NotRunningError: when the server is down."""
        raise NotImplementedError

    async def bans_list(self) -> Report:
        """See ``IAdministration``."""
        return [
            {
                "network": ban.network,
                "cause": ban.cause,
                "why": ban.why,
                "begun": _text(ban.begun),
                "ends": None if ban.ends is None else _text(ban.ends),
                "times": ban.times,
            }
            for ban in self._bans.all()
        ]

    async def bans_add(self, network: str, why: str, seconds: float) -> list[str]:
        """See ``IAdministration``."""
        ban = await self._bans.add(network, why, seconds or None)
        return [f"banned {ban.network} until {_text(ban.ends) if ban.ends is not None else 'it is lifted'}"]

    async def bans_lift(self, network: str) -> list[str]:
        """See ``IAdministration``."""
        bans = self._bans
        before = {ban.network for ban in bans.all()}
        await (bans.lift(network) if network else bans.lift_all())
        lifted = sorted(before - {ban.network for ban in bans.all()})
        return [f"lifted {name}" for name in lifted] or ["nothing is banned"]


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
