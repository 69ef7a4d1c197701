"""What the server does for each command: a module per family, and the table that finds the handler.

A handler takes the `Connection <moxtwisted.imap.connection.Connection>` and the command; what it may return is told
there. A program that wants a command of its own gives `Server <moxtwisted.imap.server.Server>` a table with one more
line, and the reader a grammar for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from moxtwisted.imap.commands.acl import deleteacl, getacl, listrights, myrights, setacl
from moxtwisted.imap.commands.append import append
from moxtwisted.imap.commands.authentication import authenticate, login
from moxtwisted.imap.commands.contexts import cancel_update
from moxtwisted.imap.commands.copymove import copy, expunge, move, uid_expunge
from moxtwisted.imap.commands.fetch import fetch
from moxtwisted.imap.commands.filters import filtered
from moxtwisted.imap.commands.idle import done, idle
from moxtwisted.imap.commands.language import language
from moxtwisted.imap.commands.listing import list_, lsub
from moxtwisted.imap.commands.mailboxes import create, delete, rename, subscribe, unsubscribe
from moxtwisted.imap.commands.metadata import get_metadata, set_metadata
from moxtwisted.imap.commands.multisearch import multi_search
from moxtwisted.imap.commands.notify import notify
from moxtwisted.imap.commands.quota import get_quota, get_quota_root, set_quota
from moxtwisted.imap.commands.replace import replace
from moxtwisted.imap.commands.search import search
from moxtwisted.imap.commands.select import check, close, select, unselect
from moxtwisted.imap.commands.session import (
    capability,
    compress,
    enable,
    id_,
    logout,
    namespace,
    noop,
    starttls,
    unauthenticate,
)
from moxtwisted.imap.commands.sort import sort
from moxtwisted.imap.commands.status import status
from moxtwisted.imap.commands.store import store
from moxtwisted.imap.commands.thread import thread
from moxtwisted.imap.commands.urlauth import genurlauth, resetkey, urlfetch
from moxtwisted.imap.connection import Handled
from moxtwisted.imap.wire import aclcommands as access
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import mailboxcommands as m
from moxtwisted.imap.wire import urlcommands as urls

__all__ = ["HANDLERS", "Handler"]

Handler = Callable[[Any, Any], Handled]
"""Takes a `Connection <moxtwisted.imap.connection.Connection>` and a command."""

HANDLERS: Final[Mapping[type[c.Command], Handler]] = {
    access.DeleteACL: deleteacl,
    access.GetACL: getacl,
    access.ListRights: listrights,
    access.MyRights: myrights,
    access.SetACL: setacl,
    urls.GenURLAuth: genurlauth,
    urls.ResetKey: resetkey,
    urls.URLFetch: urlfetch,
    c.Append: append,
    c.Authenticate: authenticate,
    c.CancelUpdate: cancel_update,
    c.Capability: capability,
    c.Check: check,
    c.Close: close,
    c.Compress: compress,
    c.Copy: copy,
    c.Create: create,
    c.Delete: delete,
    c.Done: done,
    c.Enable: enable,
    c.Expunge: expunge,
    c.Fetch: fetch,
    c.Id: id_,
    c.Idle: idle,
    c.List: list_,
    c.Login: login,
    c.Logout: logout,
    c.Lsub: lsub,
    c.Move: move,
    c.MultiSearch: filtered(multi_search),
    c.Namespace: namespace,
    c.Noop: noop,
    c.Notify: notify,
    c.Rename: rename,
    c.Replace: replace,
    c.Search: filtered(search),
    c.Sort: filtered(sort),
    c.Thread: filtered(thread),
    c.Select: select,
    c.StartTLS: starttls,
    c.Status: status,
    c.Store: store,
    c.Subscribe: subscribe,
    c.UIDExpunge: uid_expunge,
    c.Unauthenticate: unauthenticate,
    c.Unselect: unselect,
    c.Unsubscribe: unsubscribe,
    m.GetMetadata: get_metadata,
    m.GetQuota: get_quota,
    m.GetQuotaRoot: get_quota_root,
    m.Language: language,
    m.SetMetadata: set_metadata,
    m.SetQuota: set_quota,
}
