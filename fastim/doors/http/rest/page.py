"""The page ``docs/rest.md``, made from the description that ``/openapi.json`` serves."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from fastim.doors.http.rest.calls import AnyCall
from fastim.doors.http.rest.openapi import PLAIN, document

_INTRODUCTION = """\
# REST

This page is made from what a running server describes at `/openapi.json`:
`python -m fastim.doors.http.rest.page > docs/rest.md` makes it anew.

An application's own servers call these at the HTTP port. Every call names the application, in `X-LC-Id`, and shows a
key, in `X-LC-Key: <key>` or `X-LC-Key: <master key>,master`; or, so that the key itself does not travel, in
`X-LC-Sign: <md5 of timestamp and key>,<timestamp>` with `,master` behind it for the master key. The names that older
back ends send, `X-AVOSCloud-*` and `X-Uluru-*`, are the same. Calls for clients want the key that every client knows
and, in `X-LC-IM-Session-Token`, a session token of the client that the query names as `client_id`. The master key may
make every call.

```
rest() { curl -sS -H "X-LC-Id: $APP_ID" -H "X-LC-Key: $MASTER_KEY,master" "$@"; }
rooms=http://127.0.0.1:4568/1.2/rtm/conversations
rest $rooms -d '{"name": "Tea", "m": ["tom", "jerry"]}'
rest $rooms/$ID/messages -d '{"from_client": "tom", "message": "{\\"_lctype\\": -1, \\"_lctext\\": \\"Milk?\\"}"}'
rest $rooms -G --data-urlencode 'where={"m": "tom"}'
```

Bodies are JSON objects of at most 1 MiB, whatever `Content-Type` says; what a call does not know in one is ignored.
Where a call takes or answers a text instead, it says so.
What an SDK understands as a typed message is JSON within the string `message`. Times are milliseconds since the epoch.
A failure is an HTTP status and `{"code": ..., "error": ...}`, where the code is one of [these](errors.md) or the
status.

| status | means |
|---|---|
| 400 | something in the body or the query is missing or wrong, and `error` says what; or the call was refused |
| 401 | a credential is missing, wrong, or not enough; it is not said which. The master key needs its `,master` |
| 404 | there is no such conversation, message or record; or no such path: none ends with a slash |
| 405 | the path takes other methods, which `Allow` names |
| 413 | the body is too long |
| 429 | see below |
| 503 | the server cannot write at the moment: nothing was done, try again |

- A time or a message id that a call names has to be right: both together say which message is meant.
- A message, its push data and the ids it mentions are together at most `limits.message_bytes` long (4109).
- `next` in a list is where its next part begins, and absent after the last one.
- Where something was done for some clients and not for others, `failed` names those and says why.
- Messages sent, modified and recalled count together, those to all subscribers and those to everybody each by
  themselves; see `rest.*` in the [settings](settings.md). What is too much gets 429, and `Retry-After` says for how
  long, in seconds. A call that fails costs nothing.
- `where` takes what the SDKs' queries send: a value, or `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$all`,
  `$size`, `$exists`, `$not`, `$regex` with `$options`; `$and`, `$or`; paths with dots; members by `m`, and types by
  `conv_type`. A query that looks at too much is refused (4310): name `objectId` or `m`.
- Devices register for push, save and fetch themselves with the key that clients know, so whoever has it and knows an
  installation's id, its `installationId` or its token is taken for that device. What is new is answered with 201. How
  many may register in a minute is a [setting](settings.md), too.
- A conversation of another type is not found under a path, and the answer says under which it is.
"""


def page(calls: Sequence[AnyCall]) -> str:
    """The page, in Markdown."""
    described = document(calls, "")
    schemas = described["components"]["schemas"]
    tags: dict[str, list[str]] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append(
                "\n".join(_section(method.upper(), path, operation, schemas))
            )
    parts = [_INTRODUCTION]
    for tag, sections in tags.items():
        parts.append(f"## {tag}\n\n" + "\n\n".join(sections) + "\n")
    return "\n".join(parts)


def _section(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    yield f"### `{method} {path}`"
    yield ""
    yield f"{operation['summary']} {_access(operation)}"
    rows = [
        _row(one["name"], one["schema"], required=one["required"], place="query", schemas=schemas)
        for one in operation["parameters"]
        if one["in"] == "query"
    ]
    if "requestBody" in operation:
        body = _resolved(_schema(operation["requestBody"]), schemas)
        rows += [
            _row(name, schema, required=name in body.get("required", ()), place="body", schemas=schemas)
            for name, schema in body.get("properties", {}).items()
        ]
        yield from ("", _plain(body["description"]))
    if rows:
        yield from ("", "| name | in | value | what it is |", "|---|---|---|---|", *rows)
    yield from ("", _answers(operation["responses"]["200"], schemas))


def _answers(response: dict[str, Any], schemas: dict[str, Any]) -> str:
    schema = _schema(response)
    if PLAIN in response["content"]:
        return f"Answers a text. {_plain(schema['description'])}"
    return f"Answers {_shape(schema, schemas)}."


def _schema(described: dict[str, Any]) -> dict[str, Any]:
    """Of a body or an answer, which each have one form."""
    (form,) = described["content"].values()
    schema: dict[str, Any] = form["schema"]
    return schema


def _access(operation: dict[str, Any]) -> str:
    schemes = {name for alternative in operation["security"] for name in alternative}
    if not schemes:
        return "*Anybody.*"
    if "masterKey" in schemes:
        return "*Master key.*"
    return "*Key and session token.*" if "session" in schemes else "*Key.*"


def _row(name: str, schema: dict[str, Any], *, required: bool, place: str, schemas: dict[str, Any]) -> str:
    value = _value(schema, schemas) + (", needed" if required else _default(schema))
    return f"| `{name}` | {place} | {value} | {_description(schema)} |".replace("  |", " |")


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return (
        f", else `{default}`".replace("True", "true").replace("False", "false") if default not in (None, "", []) else ""
    )


def _description(schema: dict[str, Any]) -> str:
    if "description" in schema:
        return _plain(schema["description"])
    return next((_description(one) for one in schema.get("anyOf", ()) if one.get("description")), "")


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _value(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _shape(schema, schemas)
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_value(one, schemas) for one in schema["anyOf"] if one.get("type") != "null")
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"array of {_value(schema['items'], schemas)}{_bounds(schema, 'minItems', 'maxItems')}"
    if kind == "string":
        return f"string{_bounds(schema, 'minLength', 'maxLength')}"
    if kind == "integer" and schema.get("maximum", 0) < _FOR_EVER:
        return f"integer{_bounds(schema, 'minimum', 'maximum')}"
    return str(kind)


_FOR_EVER = 2**53 - 1


def _bounds(schema: dict[str, Any], least: str, most: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if high is not None:
        return f" ({low or 0} to {high})"
    return f" (from {low})" if low else ""


def _shape(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """What an answer looks like, in one line."""
    if schema.get("type") == "array":
        return f"`[{_bare(schema['items'], schemas)}, ...]`"
    return f"`{_bare(schema, schemas)}`"


def _bare(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    schema = _resolved(schema, schemas)
    if schema.get("type") == "array":
        return f"[{_bare(schema['items'], schemas)}, ...]"
    if "anyOf" in schema:
        return " or ".join(_bare(one, schemas) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f'"{one}"' for one in schema["enum"])
    if schema.get("type") != "object":
        return str(schema.get("type", "value"))
    if "properties" not in schema:
        return "{...}"
    required = schema.get("required", ())
    fields = (
        f'"{name}"{"" if name in required else "?"}: {_bare(one, schemas)}'
        for name, one in schema["properties"].items()
    )
    return "{" + ", ".join(fields) + "}"


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    found: dict[str, Any] = schemas[reference.rpartition("/")[2]] if reference else schema
    return found


if __name__ == "__main__":
    from fastim.doors.http.rest import CALLS

    sys.stdout.write(page(CALLS))
