"""Commands on mail: import, export, the queue."""

from __future__ import annotations

import argparse
from pathlib import Path

from moxtwisted.cli.consent import agreed
from moxtwisted.cli.output import counted, print_report
from moxtwisted.cli.session import administer, call


def _import(arguments: argparse.Namespace, operation: str) -> int:
    path = str(Path(arguments.path).absolute())
    result = call(
        arguments,
        lambda administration, show: getattr(administration, operation)(
            arguments.account, arguments.mailbox, path, show
        ),
    )
    skipped = result.get("skipped", 0)
    print(
        f"{counted(result['messages'], 'message')} imported" + (f", {skipped:,} skipped" if skipped else "")
    )
    return 0


def import_mbox(arguments: argparse.Namespace) -> int:
    """``import mbox``."""
    return _import(arguments, "import_mbox")


def import_maildir(arguments: argparse.Namespace) -> int:
    """``import maildir``."""
    return _import(arguments, "import_maildir")


def _export(arguments: argparse.Namespace, operation: str) -> int:
    path = str(Path(arguments.path).absolute())
    result = call(
        arguments,
        lambda administration, show: getattr(administration, operation)(
            arguments.account, arguments.mailbox, path, show
        ),
    )
    print(f"{counted(result['messages'], 'message')} exported to {path}")
    return 0


def export_mbox(arguments: argparse.Namespace) -> int:
    """``export mbox``."""
    return _export(arguments, "export_mbox")


def export_maildir(arguments: argparse.Namespace) -> int:
    """``export maildir``."""
    return _export(arguments, "export_maildir")


def queue_remove(arguments: argparse.Namespace) -> int:
    """``queue remove``."""
    many = "these messages" if len(arguments.id) > 1 else "this message"
    question = f"Drop {many} from the queue, unsent: {', '.join(map(str, arguments.id))}?"
    if not agreed(arguments, question, "yes"):
        return 1
    return administer(arguments, lambda administration, _: administration.queue_remove(arguments.id))


def queue_list(arguments: argparse.Namespace) -> int:
    """``queue list``."""
    rows = call(arguments, lambda administration, _: administration.queue_list())
    print_report(rows, as_json=arguments.json, empty="the queue is empty")
    return 0
