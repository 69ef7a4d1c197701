"""The OpenAPI 3.1 document of routes, made from the same declarations that check requests and write answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from moxtwisted.http.support.problems import Problem

if TYPE_CHECKING:
    from moxtwisted.http.support.api import Info, Operation, Route

__all__ = ["describe"]

_REFERENCE = "#/components/schemas/{name}"
_SEGMENT = re.compile(r"<(?:[^:>]*:)?([^>]+)>")


def describe(info: Info, routes: Sequence[Route]) -> dict[str, Any]:
    """The document.

    :return: what is to be written as JSON.
    """
    inputs = {kind for route in routes for kind in (route.operation.path, route.operation.query) if kind}
    types: list[Any] = [Problem]
    for route in routes:
        types += [kind for kind in (route.operation.body, route.operation.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(
        [*dict.fromkeys(types), *sorted(inputs, key=lambda kind: kind.__name__)], ref_template=_REFERENCE
    )
    named = dict(zip(dict.fromkeys(types), schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        where = _SEGMENT.sub(r"{\1}", route.path)
        paths.setdefault(where, {})[route.method.lower()] = _operation(route, named, components)
    for kind in inputs:
        # They are taken apart into parameters.
        components.pop(kind.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": info.title, "version": info.version, "description": info.description},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, named: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation = route.operation
    described: dict[str, Any] = {
        "operationId": route.name,
        "summary": operation.summary,
        "responses": _responses(operation, named),
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [
        *_parameters(operation.path, "path", components),
        *_parameters(operation.query, "query", components),
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": named[operation.body]}},
        }
    return described


def _responses(operation: Operation, named: dict[Any, Any]) -> dict[str, Any]:
    problem = {"application/json": {"schema": named[Problem]}}
    content: dict[str, Any] = {operation.media_type: {}}
    if operation.answer is not None:
        content[operation.media_type]["schema"] = named[operation.answer]
    found: dict[str, Any] = {str(operation.status): {"description": operation.summary, "content": content}}
    for status, text in sorted(operation.errors.items()):
        found[str(status)] = {"description": text, "content": problem}
    found["default"] = {"description": "Any other error", "content": problem}
    return found


def _parameters(kind: type[msgspec.Struct] | None, place: str, components: dict[str, Any]) -> list[Any]:
    if kind is None:
        return []
    schema = components[kind.__name__]
    required = set(schema.get("required", ()))
    found = []
    for name, value in schema["properties"].items():
        details = dict(value)
        parameter: dict[str, Any] = {
            "name": name,
            "in": place,
            "required": place == "path" or name in required,
        }
        if "description" in details:
            parameter["description"] = details.pop("description")
        found.append({**parameter, "schema": details})
    return found
