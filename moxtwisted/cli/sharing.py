"""Commands on access control lists."""

from __future__ import annotations

import argparse

from moxtwisted.cli.output import print_report
from moxtwisted.cli.session import administer, call


def acl_list(arguments: argparse.Namespace) -> int:
    """``acl list``."""
    rows = call(
        arguments, lambda administration, _: administration.acl_list(arguments.account, arguments.mailbox)
    )
    print_report(rows, as_json=arguments.json, empty="nothing is shared")
    return 0


def acl_set(arguments: argparse.Namespace) -> int:
    """``acl set``."""
    return administer(
        arguments,
        lambda administration, _: administration.acl_set(
            arguments.account, arguments.mailbox, arguments.identifier, arguments.rights
        ),
    )


def acl_rm(arguments: argparse.Namespace) -> int:
    """``acl rm``."""
    return administer(
        arguments,
        lambda administration, _: administration.acl_remove(
            arguments.account, arguments.mailbox, arguments.identifier
        ),
    )
