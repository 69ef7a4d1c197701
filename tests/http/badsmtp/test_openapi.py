"""The description is a good one, and the server does what it says."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.trial.unittest import SynchronousTestCase

from tests.badsmtp.howto import SMTP, literals, table
from tests.http.badsmtp.material import MIXED, Fixture

HOWTO = SMTP.parent / "web.rst"

VALUES = st.one_of(
    st.sampled_from(("", "0", "1", "2", "3", "-1", "1.5", "50", "201", "x",
        "true", "null", "1.1", "9" * 30, "bob@example.org", "a" * 1001)),
    st.text(max_size=20),
)  # fmt: skip


class DescriptionTests(SynchronousTestCase):
    """The document."""

    def setUp(self) -> None:
        self.fixture = Fixture(self)
        self.fixture.keep()
        self.fixture.keep(MIXED)
        self.session = self.fixture.client.ask("POST", "/api/playground").json["session"]
        self.document: dict[str, Any] = self.fixture.client.ask("GET", "/api/openapi.json").json

    def test_valid(self) -> None:
        """It is an OpenAPI 3.1 document."""
        OpenAPIV31SpecValidator(self.document).validate()

    def test_complete(self) -> None:
        """It has every route below /api, each with a summary, and every parameter with a description."""
        application = self.fixture.site.resource.inner._app  # type: ignore[attr-defined]
        routed = {
            (method.lower(), str(rule.rule).replace("<", "{").replace(">", "}"))
            for rule in application.url_map.iter_rules()
            if str(rule.rule).startswith("/api")
            for method in (rule.methods or set()) - {"HEAD"}
        }
        described = {(method, path) for path, item in self.document["paths"].items() for method in item}
        self.assertEqual(described, routed)
        for item in self.document["paths"].values():
            for operation in item.values():
                self.assertTrue(operation["summary"])
                for parameter in operation.get("parameters", ()):
                    self.assertTrue(parameter["description"], parameter)

    def test_howto(self) -> None:
        """The how-to lists the same requests."""
        rows = table("Requests", HOWTO)
        told = {tuple(literals(row[0])[0].split()) for row in rows}
        described = {
            (method.upper(), path) for path, item in self.document["paths"].items() for method in item
        }
        self.assertEqual(told, described)

    def conform(self, method: str, path: str, query: str, body: bytes | None) -> int:
        """Ask for something, and see that the answer is one of those that are described; its status."""
        operation = self.document["paths"][path][method]
        address = path
        for name, value in self.segments.items():
            address = address.replace(f"{{{name}}}", quote(value, safe=""))
        answer = self.fixture.client.ask(method.upper(), f"{address}?{query}", body=body)
        responses = operation["responses"]
        described = responses.get(str(answer.status), responses["default"])
        if answer.status >= 400 or str(answer.status) in responses:
            [(media_type, content)] = described["content"].items()
            self.assertEqual(answer.headers["content-type"].partition(";")[0], media_type)
            if "schema" in content:
                schema = {**content["schema"], "components": self.document["components"]}
                Draft202012Validator(schema).validate(answer.json)
        else:
            self.fail(f"{method} {path}: {answer.status} is not described")
        self.assertNotEqual(answer.status, 500)
        return answer.status

    segments: dict[str, str] = {}

    def test_good_requests(self) -> None:
        """What is described is answered well, by each operation."""
        for path, item in self.document["paths"].items():
            for method in sorted(item, key=["get", "post", "delete"].index):
                if path == "/api/events":
                    continue
                self.segments = {"number": "2", "part": "1.1", "session": self.session}
                if method == "delete" and "number" in path:
                    self.segments["number"] = "1"
                query = (
                    "timeout=0"
                    if path in {"/api/wait", "/api/playground/{session}"} and method == "get"
                    else ""
                )
                body = b'{"text":"NOOP\\r\\n"}' if "requestBody" in item[method] else None
                wanted = next(int(status) for status in item[method]["responses"] if status.startswith("2"))
                if method == "delete" and path == "/api/messages":
                    query = "to=nobody@example.org"
                self.assertEqual(self.conform(method, path, query, body), wanted, (method, path))

    @settings(max_examples=200)
    @given(st.data())
    def test_any_request(self, data: st.DataObject) -> None:
        """Whatever is asked with whatever parameters and content, the answer is as described, and never our own failure."""
        path = data.draw(st.sampled_from(sorted(set(self.document["paths"]) - {"/api/events"})))
        method = data.draw(st.sampled_from(sorted(self.document["paths"][path])))
        if method == "post" and path == "/api/playground":
            return  # there is room for twenty
        operation = self.document["paths"][path][method]
        self.segments = {
            "number": data.draw(VALUES) or "1",
            "part": data.draw(VALUES) or "1",
            "session": self.session,
        }
        names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
        query = data.draw(st.dictionaries(st.sampled_from([*names, "more"]), VALUES, max_size=3))
        if "timeout" in names:
            query["timeout"] = data.draw(st.sampled_from(("0", "0.0", "x", "-1", "301")))
        body = None
        if "requestBody" in operation:
            body = data.draw(
                st.binary(max_size=20)
                | st.dictionaries(st.sampled_from(("text", "more")), st.text(max_size=5) | st.integers()).map(
                    msgspec.json.encode
                )
            )
        self.conform(method, path, urlencode(query), body)
