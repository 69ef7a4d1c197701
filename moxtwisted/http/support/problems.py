"""Errors of HTTP interfaces: raised anywhere in a handler, sent as JSON.

::

    raise ProblemError(404, "there is no message 17")

    HTTP/1.1 404 Not Found
    Content-Type: application/json

    {"status":404,"error":"Not Found","detail":"there is no message 17"}
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

__all__ = ["Problem", "ProblemError", "send_problem"]

#: Codes that the enumeration of the standard library words differently from version to version, or lacks.
_NAMES = {413: "Content Too Large", 421: "Misdirected Request", 422: "Unprocessable Content"}


class Problem(Struct, frozen=True):
    """Why a request was not done."""

    status: Annotated[int, Meta(ge=400, le=599, description="The status code once more.")]
    error: Annotated[str, Meta(description="What the status code means.")]
    detail: Annotated[str, Meta(description="What was wrong with this request.")]


class ProblemError(Exception):
    """A request cannot be done.

    :ivar status: 400 to 599.
    :ivar detail: what was wrong, for whoever asked.
    :ivar headers: what the answer says besides (``Allow``, ``Retry-After``).
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        super().__init__(f"{status} {detail}")

    @property
    def problem(self) -> Problem:
        """What is sent."""
        return Problem(self.status, _NAMES.get(self.status) or HTTPStatus(self.status).phrase, self.detail)


def send_problem(request: Any, error: ProblemError) -> bytes:
    """Set the status and the headers of the answer.

    :param request: a Twisted request, nothing of whose answer was written yet.
    :return: the body.
    """
    problem = error.problem
    request.setResponseCode(problem.status, problem.error.encode("ascii"))
    request.setHeader("content-type", "application/json")
    for name, value in error.headers.items():
        request.setHeader(name, value)
    return msgspec.json.encode(problem)
