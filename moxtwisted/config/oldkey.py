"""The key that was changed, kept until it is certain that nobody needs it.

When ``moxmail key rotate`` or ``key off`` replaces the key of the store, the old one stays beside it, as
``store.key.old`` (for its owner only)::

    keep_old_key(path)                  # before store.key is replaced
    forget_old_key(path, data, key)     # when the key is read for a start: removes it, if every database opens

The rule: the first start, or other use of the store, that finds that *every* database can really be read with the key
that is configured now removes it. If one cannot, it stays; put back (``mv store.key.old store.key``) it opens what was
written with it. So does the next change of the key, which begins with the same test, by putting its own in its place.
"""

from __future__ import annotations

from pathlib import Path

from moxtwisted.config.atomic import replace_file
from moxtwisted.errors import MailError
from moxtwisted.store.keys import MasterKey

__all__ = ["forget_old_key", "keep_old_key", "old_key_path"]


def old_key_path(key_file: Path) -> Path:
    """Where the old key is kept."""
    return key_file.with_name(key_file.name + ".old")


def keep_old_key(key_file: Path) -> None:
    """Put a copy of the key file beside it, in place of an older one.

    :raise OSError: when that cannot be done.
    """
    if key_file.exists():
        old = old_key_path(key_file)
        old.unlink(missing_ok=True)  # not its mode, and through no link
        replace_file(old, key_file.read_bytes(), 0o600)


def forget_old_key(key_file: Path, directory: Path, key: MasterKey | None) -> bool:
    """Remove the old key if every database of the data directory opens with the present one; whether it was removed."""
    old = old_key_path(key_file)
    if not old.exists():
        return False
    try:
        from moxtwisted.store.database import databases, read_with

        for path, name in databases(directory):
            read_with(path, key.derive(name) if key is not None else None)
        old.unlink()
    except (MailError, OSError):
        return False  # kept: the start itself will say what is wrong with the database
    return True
