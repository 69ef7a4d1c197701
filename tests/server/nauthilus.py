"""A small Nauthilus on loopback: as strict about fields as the real one, and with its answers.

::

    site = FakeNauthilus({"alice@example.org": "secret"})
    port = reactor.listenTCP(0, Site(site), interface="127.0.0.1")
    site.behaviour = "hang"
"""

from __future__ import annotations

import json
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

__all__ = ["FIELDS", "FakeNauthilus", "answer"]

#: What the real one takes (its server/model/authdto).
FIELDS = frozenset(
    "username password client_ip client_port client_hostname client_id external_session_id user_agent local_ip local_port "
    "protocol method ssl ssl_session_id ssl_client_verify ssl_client_dn ssl_client_cn ssl_issuer ssl_client_notbefore "
    "ssl_client_notafter ssl_subject_dn ssl_issuer_dn ssl_client_subject_dn ssl_client_issuer_dn ssl_protocol ssl_cipher "
    "ssl_serial ssl_fingerprint oidc_cid auth_login_attempt".split()
)
BASIC = "Basic bW94bWFpbDpzM2NyZXQ="  # moxmail:s3cret


def answer(
    passwords: dict[str, str], authorization: str, content_type: str, body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a question."""
    if authorization not in {BASIC, "Bearer t0ken"}:
        return 401, {}, b'{"error":"unauthorized"}'
    if content_type != "application/json":
        return 415, {}, b'{"error":"unsupported media type"}'
    try:
        question = json.loads(body)
    except ValueError:
        question = None
    if not isinstance(question, dict) or set(question) - FIELDS or not question.get("username"):
        return 400, {}, b'{"error":"invalid request"}'
    texts = {name: value for name, value in question.items() if name != "auth_login_attempt"}
    number = question.get("auth_login_attempt", 0)
    if (
        not all(isinstance(value, str) for value in texts.values())
        or not isinstance(number, int)
        or number < 0
    ):
        return 400, {}, b'{"error":"invalid request"}'
    if not question.get("password"):
        return (
            400,
            {},
            b'{"error":"validation","errors":[{"field":"Password","message":"This field is required"}]}',
        )
    if passwords.get(question["username"]) != question["password"]:
        return 403, {"Auth-Status": "Invalid login or password", "X-Nauthilus-Session": "g"}, b"null"
    success = {
        "ok": True,
        "account_field": question["username"],
        "backend": 2,
        "attributes": {"dn": ["cn=x"]},
    }
    return 200, {"Auth-Status": "OK", "Auth-User": question["username"]}, json.dumps(success).encode()


class FakeNauthilus(Resource):
    """See the module.

    :ivar behaviour: ``""``, or how it misbehaves.
    :ivar questions: what it was asked.
    """

    isLeaf = True

    def __init__(self, passwords: dict[str, str]) -> None:
        super().__init__()
        self.passwords = passwords
        self.behaviour = ""
        self.questions: list[dict[str, Any]] = []
        self.paths: list[bytes] = []
        self.hanging: list[Any] = []

    def render_POST(self, request: Any) -> Any:
        """Answer."""
        body = request.content.read()
        self.paths.append(request.uri)
        self.questions.append(json.loads(body))
        if self.behaviour == "hang":
            self.hanging.append(request)
            return NOT_DONE_YET
        if self.behaviour == "close":
            request.transport.abortConnection()
            return NOT_DONE_YET
        code, headers, text = answer(
            self.passwords, request.getHeader("authorization") or "", request.getHeader("content-type"), body
        )
        if self.behaviour == "trouble":
            code, headers, text = 500, {"Auth-Status": "Temporary server problem"}, b'{"error":"x"}'
        elif self.behaviour == "odd":
            code, headers, text = 400, {}, b'{"error":"invalid request"}'
        elif self.behaviour == "scope":
            code, headers, text = 403, {}, b'{"error":"forbidden"}'
        elif self.behaviour == "garbage":
            text = b"<html>yes</html>"
        elif self.behaviour == "long":
            text = b" " * 1_000_000 + text
        elif self.behaviour == "redirect":
            code, headers, text = 302, {"Location": "http://127.0.0.1:9/"}, b""
        elif self.behaviour == "not ok":
            text = b'{"ok":false,"account_field":""}'
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name, value)
        return text
