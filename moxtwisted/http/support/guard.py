"""Keeps other people's web pages away from a server that trusts whoever can reach it, and says so to browsers.

A page from anywhere can make its visitor's browser send requests to 127.0.0.1. Three things stand in its way::

    Host: attacker.example:25080        421: a name that was rebound to our address (DNS rebinding) is no name of ours
    Sec-Fetch-Site: cross-site          403: but for following a link to a page
    Origin: https://attacker.example    403: nothing that a page of another origin wants changed is changed (CSRF)

Programs that are no browsers send neither of the last two. Answers carry headers that forbid everything; a page says what it needs
with ``allow``.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from twisted.web.resource import Resource

from moxtwisted.http.support.problems import ProblemError, send_problem

__all__ = ["Guard", "Guarded", "allow"]

_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})

_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"server", b"moxtwisted"),
)  # fmt: skip


def allow(request: Any, policy: str, *, framed: bool = False) -> None:
    """Loosen what an answer may do in a browser.

    :param policy: a content security policy without ``frame-ancestors``.
    :param framed: whether a page of this site may show it in a frame.
    """
    ancestors = "'self'" if framed else "'none'"
    request.setHeader("content-security-policy", f"{policy}; frame-ancestors {ancestors}")
    if framed:
        request.setHeader("x-frame-options", "SAMEORIGIN")


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower().rstrip(".") for name in names)


@frozen
class Guard:
    """Which requests are ours to answer.

    :ivar names: host names that this site is reached by, besides ``localhost``; without ports.
    """

    names: frozenset[str] = field(default=frozenset(), converter=_lower)

    def check(self, request: Any) -> None:
        """Look at the headers of a request.

        :raise ProblemError: it is not to be answered.
        """
        headers = request.requestHeaders
        hosts = headers.getRawHeaders(b"host", [])
        host = _text(hosts[0]) if len(hosts) == 1 else ""
        if not self._is_ours(host):
            raise ProblemError(421, "the Host header names no host of this server")
        fetch_site = _text(headers.getRawHeaders(b"sec-fetch-site", [b""])[0])
        if fetch_site not in {"", "none", "same-origin"} and not _follows_a_link(request):
            raise ProblemError(403, "a page of another site asked for this")
        if request.method in _SAFE:
            return
        for origin in headers.getRawHeaders(b"origin", []):
            # Behind a proxy that speaks TLS the scheme is not ours to know; the host and the port are.
            if _text(origin).lower().partition("://")[2] != host.lower():
                raise ProblemError(403, "a page of another origin asked for this change")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if not name or not host.isascii() or any(sign in host for sign in "/?#@\\ \t"):
            return False
        name = name.rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or name in self.names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        # Nobody can make the name of his page resolve to an address and be an address: rebinding needs a name.
        return True


def _text(value: bytes) -> str:
    # What is not UTF-8 is no host, no origin and no token: the replacement character keeps it from being one.
    return value.decode("utf-8", "replace")


def _follows_a_link(request: Any) -> bool:
    """Whether the person in front of a browser goes to a page of ours: its address was clicked on elsewhere."""
    headers = request.requestHeaders
    mode = headers.getRawHeaders(b"sec-fetch-mode", [b""])[0]
    target = headers.getRawHeaders(b"sec-fetch-dest", [b""])[0]
    is_page: bool = request.method == b"GET" and request.path == b"/"
    return is_page and mode == b"navigate" and target == b"document"


class Guarded(Resource):
    """Asks a guard before another resource sees a request; for a ``BoundedSite``.

    :ivar inner: the resource that answers.
    """

    isLeaf = True

    def __init__(self, inner: Resource, guard: Guard) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.inner = inner
        self.guard = guard

    def render(self, request: Any) -> Any:
        """Answer, or say why not."""
        for name, value in _HEADERS:
            request.setHeader(name, value)
        try:
            self.guard.check(request)
            if request.oversized:
                raise ProblemError(413, f"more than {request.body_octets_limit} octets of content")
            _decodable(request.postpath)
        except ProblemError as error:
            return send_problem(request, error)
        return self.inner.render(request)


def _decodable(segments: list[bytes]) -> None:
    try:
        b"/".join(segments).decode("utf-8")
    except UnicodeDecodeError:
        raise ProblemError(400, "the path is not UTF-8") from None
