"""``/openapi.json``: the REST calls as OpenAPI 3.1 describes them, made from the same values as the routes."""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import AnyCall, Nothing, OpenCall, is_plain

PLAIN = "text/plain"
DOCUMENT_PATH = "/openapi.json"
_REFERENCES = "#/components/schemas/{name}"
_IN_BRACES = re.compile(r"{(\w+)}")

_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.ANYBODY: [],
    Access.APPLICATION: [{"application": [], "key": []}, {"application": [], "sign": []}],
    Access.CLIENT: [{"application": [], "key": [], "session": []}, {"application": [], "sign": [], "session": []}],
    Access.MASTER: [{"application": [], "masterKey": []}, {"application": [], "sign": []}],
}


_PROBLEMS = {
    "400": "The request is malformed, or is refused.",
    "401": "Who asks has not shown that they may.",
    "404": "There is no such thing.",
    "413": "The request is too large.",
    "429": "Too many of these; Retry-After says for how long.",
    "503": "The server cannot do it now; nothing was done.",
}
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+?)(?=^ {4}\w|\Z)", re.MULTILINE | re.DOTALL)


class Problem(Struct, frozen=True):
    """What every failure answers.

    Attributes:
        code: An error code of the protocol, or the HTTP status.
        error: For people.
    """

    code: int
    error: str


def document(calls: Sequence[AnyCall], version: str) -> dict[str, Any]:
    """The description of ``calls``.

    Args:
        version: Of the server.
    """
    kinds = [kind for call in calls for kind in (call.body, call.query, call.reply)]
    in_json = [Nothing if is_plain(kind) else kind for kind in kinds]
    schemas, components = msgspec.json.schema_components([*in_json, Problem], ref_template=_REFERENCES)
    *of_calls, problem = schemas
    of_calls = [_text(kind) if is_plain(kind) else schema for kind, schema in zip(kinds, of_calls, strict=True)]
    for component in components.values():
        _document(component)
    paths: dict[str, dict[str, Any]] = {}
    for index, call in enumerate(calls):
        body, query, reply = of_calls[3 * index : 3 * index + 3]
        operation = _operation(call, body, _resolved(query, components), reply)
        paths.setdefault(call.path, {})[call.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fastim",
            "version": version,
            "description": "What an application's own servers can ask of fastim.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {status: _json(text, problem) for status, text in _PROBLEMS.items()},
            "securitySchemes": _schemes(),
        },
    }


def _operation(call: AnyCall, body: dict[str, Any], query: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(call),
        "summary": call.summary,
        "tags": [call.tag],
        "security": _SECURITY[call.access],
        "parameters": [*_path_parameters(call), *_query_parameters(query, call.access)],
        "responses": _responses(call, reply),
    }
    if call.body is not Nothing:
        required = any(field.required for field in msgspec.structs.fields(call.body))
        operation["requestBody"] = {"required": required, "content": _content(call.body, body)}
    return operation


def _responses(call: AnyCall, reply: dict[str, Any]) -> dict[str, Any]:
    if isinstance(call, OpenCall):
        return {"200": _json("Done.", reply)}
    possible = [status for status in _PROBLEMS if status != "429" or call.spending is not None or call.limited]
    done = {"description": "Done.", "content": _content(call.reply, reply)}
    return {
        "200": done,
        **({"201": {**done, "description": "It is there now, and was not before."}} if call.makes else {}),
        **{status: {"$ref": f"#/components/responses/{status}"} for status in possible},
    }


def _text(kind: type) -> dict[str, Any]:
    return {"type": "string", "description": inspect.getdoc(kind)}


def _content(kind: object, schema: dict[str, Any]) -> dict[str, Any]:
    return {PLAIN if is_plain(kind) else "application/json": {"schema": schema}}


def _json(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _path_parameters(call: AnyCall) -> Iterable[dict[str, Any]]:
    for name in _IN_BRACES.findall(call.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(schema: dict[str, Any], access: Access) -> Iterable[dict[str, Any]]:
    known = schema.get("properties", {})
    if access is Access.CLIENT and "client_id" not in known:
        yield {"name": "client_id", "in": "query", "required": True, "schema": {"type": "string"}}
    for name, value in known.items():
        yield {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": value}


def _document(component: dict[str, Any]) -> None:
    """Put what a type's docstring says of its attributes where readers of a schema look for it."""
    text, _, attributes = inspect.cleandoc(component.get("description", "")).partition("\n\nAttributes:\n")
    if text:
        component["description"] = text
    for name, line in _ATTRIBUTE.findall(attributes):
        if name in component.get("properties", {}):
            component["properties"][name] = {"description": " ".join(line.split()), **component["properties"][name]}


def _resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """The schema itself where ``schema`` only refers to it."""
    reference = schema.get("$ref", "")
    return components[reference.rpartition("/")[2]] if reference else schema


def _operation_id(call: AnyCall) -> str:
    words = re.sub(r"\W+", " ", call.path).split()
    return "_".join((call.method.lower(), *words))


def _schemes() -> dict[str, Any]:
    def header(name: str, description: str) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": name, "description": description}

    return {
        "application": header("X-LC-Id", "The application's id."),
        "key": header("X-LC-Key", "The application's key."),
        "masterKey": header("X-LC-Key", "The master key with `,master` behind it."),
        "sign": header("X-LC-Sign", "`md5(timestamp + key),timestamp`, with `,master` behind it for the master key."),
        "session": header("X-LC-IM-Session-Token", "A session token of the client that the query names."),
    }
