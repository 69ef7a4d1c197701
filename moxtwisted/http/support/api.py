"""Routes that take and give JSON, declared once: what is declared is what is checked, what is sent and what is described.

An application is a class with a Klein and an ``API``::

    class Books:
        app = Klein()
        api = API(app, Info("Books", "1", "What we have."))

        @api.route("GET", "/api/books/<number>", Operation("One book", path=Numbered, answer=Book, errors={404: "there is none"}))
        def book(self, request, path):
            return self._books.get(path.number) or problem…

        @api.route("GET", "/api/openapi.json", Operation("This description", answer=JSONDocument))
        def description(self, request):
            return self.api.description()

``path``, ``query`` and ``body`` are msgspec structs. A handler is called with those that its operation has, by these names, and returns
(or awaits) a struct; or octets, when the operation names another media type; or None when it has answered. What does not fit a struct is
answered with 400, or 404 in the path; all errors are a ``Problem``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from attrs import field, frozen
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from moxtwisted.http.support.openapi import describe
from moxtwisted.http.support.problems import ProblemError, send_problem

__all__ = ["API", "Info", "Operation"]

H = TypeVar("H", bound=Callable[..., Any])

#: More parameters than any route has are not looked at.
_QUERY_FIELDS = 50


@frozen
class Info:
    """What an interface says of itself."""

    title: str
    version: str
    description: str = ""


@frozen
class Operation:
    """What one method of one path takes and gives.

    :ivar summary: one line.
    :ivar path: a struct with the names between angle brackets.
    :ivar query: a struct of the parameters; without one none is taken.
    :ivar body: a struct that the JSON content is; without one none is read.
    :ivar answer: the type of the JSON that a good answer is.
    :ivar media_type: of a good answer that is no JSON.
    :ivar status: of a good answer.
    :ivar errors: what is said by which code of the operation's own, besides those that all share.
    :ivar description: more lines.
    """

    summary: str
    path: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: Any = None
    media_type: str = "application/json"
    status: int = 200
    errors: Mapping[int, str] = field(factory=dict)
    description: str = ""


@frozen
class Route:
    """An operation where it is.

    :ivar path: as Klein has it, ``/api/books/<number>``.
    :ivar name: of the handler; the operation's identity.
    """

    method: str
    path: str
    name: str
    operation: Operation


class API:
    """The routes of one application class.

    :ivar routes: in the order of their declaration.
    """

    _log = Logger()

    def __init__(self, app: Klein, info: Info) -> None:
        self._app = app
        self.info = info
        self.routes: list[Route] = []
        self._described: dict[str, Any] | None = None
        # Klein's types want the application's class here, which is still to come.
        failed: Any = self._failed
        app.handle_errors(Exception)(failed)

    def description(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document of all routes."""
        if self._described is None:
            self._described = describe(self.info, self.routes)
        return self._described

    def route(self, method: str, path: str, operation: Operation) -> Callable[[H], H]:
        """Declare a route; the decorated method is its handler, called with the request and what the operation takes."""

        def decorate(handler: H) -> H:
            self.routes.append(Route(method, path, handler.__name__, operation))

            @wraps(handler)
            def called(application: Any, request: Any, **segments: str) -> Any:
                given = _arguments(operation, request, segments)
                return _finished(handler(application, request, **given), request, operation)

            self._app.route(path, methods=[method])(called)
            return handler

        return decorate

    def _failed(self, application: Any, request: Any, failure: Failure) -> bytes:
        """Whatever a handler raised, as JSON."""
        error = failure.value
        if isinstance(error, MethodNotAllowed):
            methods = ", ".join(sorted(error.valid_methods or ()))
            said = ProblemError(405, f"this takes {methods}", {"allow": methods})
        elif isinstance(error, ProblemError):
            said = error
        elif isinstance(error, HTTPException):
            # Redirections to where a slash is missing or too many are no use to programs.
            said = ProblemError(404, "there is nothing of that name")
        else:
            if not failure.check(CancelledError):
                self._log.failure("{path} failed", failure=failure, path=request.path)
            said = ProblemError(500, "this went wrong on our side; the log has more")
        if request.startedWriting:
            # Half an answer is out: only its end can say that it is not whole.
            request.loseConnection()
            return b""
        return send_problem(request, said)


def _arguments(operation: Operation, request: Any, segments: Mapping[str, str]) -> dict[str, Any]:
    """What a handler is called with.

    :raise ProblemError: something does not fit.
    """
    given: dict[str, Any] = {}
    if operation.path is not None:
        given["path"] = _converted(segments, operation.path, 404)
    query = _query(request)
    if operation.query is not None:
        given["query"] = _converted(query, operation.query, 400)
    elif query:
        raise ProblemError(400, "this takes no parameters")
    if operation.body is not None:
        given["body"] = _body(request, operation.body)
    return given


def _query(request: Any) -> dict[str, str]:
    _, _, text = request.uri.partition(b"?")
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_QUERY_FIELDS,
        )
    except ValueError:
        raise ProblemError(400, "the parameters cannot be read") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise ProblemError(400, f"{_shown(name)} is given twice")
        found[name] = value
    return found


def _converted(values: Mapping[str, str], wanted: type[msgspec.Struct], status: int) -> Any:
    known = {field.encode_name for field in msgspec.structs.fields(wanted)}
    for name in values:
        if name not in known:
            names = ", ".join(sorted(known))
            raise ProblemError(status, f"there is no parameter {_shown(name)}; those known are: {names}")
    try:
        return msgspec.convert(values, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(status, _sentence(error)) from None


def _body(request: Any, wanted: type[msgspec.Struct]) -> Any:
    # A form of another site's page cannot say this media type without being asked first (CSRF).
    kind = request.requestHeaders.getRawHeaders(b"content-type", [b""])[0].partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise ProblemError(415, "the content has to be application/json")
    request.content.seek(0)
    try:
        return msgspec.json.decode(request.content.read(), type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, _sentence(error)) from None


def _shown(name: str) -> str:
    return f"“{name[:50]}”"


def _sentence(error: Exception) -> str:
    """Of what msgspec says: of ``Expected `int` <= 200 - at `$.limit```, ``limit: expected int <= 200``."""
    text, _, place = str(error).replace("`", "").partition(" - at ")
    place = re.sub(r"^\$\.?", "", place)
    text = text[:1].lower() + text[1:]
    return f"{place}: {text}" if place else text


def _finished(result: Any, request: Any, operation: Operation) -> Any:
    """Turn what a handler gave into what Klein sends."""
    if isinstance(result, Awaitable):
        deferred = result if isinstance(result, Deferred) else Deferred.fromCoroutine(result)  # type: ignore[arg-type]
        return deferred.addCallback(_finished, request, operation)
    if result is None:
        return None
    if not request.responseHeaders.hasHeader("content-type"):
        request.setHeader("content-type", operation.media_type)
    if operation.status != 200:
        request.setResponseCode(operation.status)
    body = result if isinstance(result, bytes) else msgspec.json.encode(result)
    request.setHeader("content-length", str(len(body)))
    return body
