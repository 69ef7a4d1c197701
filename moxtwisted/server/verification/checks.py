"""What a listener that takes mail from strangers needs to find out who they are."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from moxtwisted.mailauth.inflow import MessageHasher
from moxtwisted.server.verification.interfaces import ISenderRules, IVerifier

__all__ = ["Checks"]


@frozen(kw_only=True)
class Checks:
    """The parts of it.

    :ivar own_names: ours in Authentication-Results; fields of others with one of these are removed.
    :ivar removed_fields: how the names of further fields begin that strangers may not write, in lower case.
    :ivar sender_rules: what is asked of senders before their message; None: nothing.
    :ivar new_hasher: makes what is fed the octets of one message.
    """

    verifier: IVerifier
    own_names: frozenset[str]
    removed_fields: tuple[bytes, ...] = ()
    sender_rules: ISenderRules | None = None
    new_hasher: Callable[[], MessageHasher] = MessageHasher
