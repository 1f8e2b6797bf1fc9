"""Pages for people: a deep link to a record leads to its fields. No login: everything here is made up."""

from __future__ import annotations

from html import escape
from sqlite3 import Row
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sync_pipeline.sandbox.salesforce.api import STAND_IN, Api
from sync_pipeline.sandbox.salesforce.ids import id18
from sync_pipeline.sandbox.salesforce.objects import Field

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: #f3f3f3; color: #181818 }
header { background: #0b5cab; color: #fff; padding: 1rem 2rem }
header small { opacity: .85 } h1 { font-size: 1.4rem; margin: 0 }
main { background: #fff; margin: 1.5rem auto; max-width: 56rem; padding: 1rem 2rem; border-radius: .5rem }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 500; color: #5c5c5c; width: 16rem; vertical-align: top }
th, td { border-bottom: 1px solid #e5e5e5; padding: .4rem .5rem; overflow-wrap: anywhere }
code { color: #706e6b; font-size: .85em }
button { font: inherit; padding: .5rem 1.5rem; margin: 1rem .5rem 0 0; border: 1px solid #0b5cab; border-radius: .25rem }
button { background: #fff; color: #0b5cab; cursor: pointer } button.first { background: #0b5cab; color: #fff }
"""


async def lightning(api: Api, request: Request) -> Response:
    """GET /lightning/r/{object}/{id}/view."""
    api.state.count_call(STAND_IN, "", "GET", "/lightning/r/{object}/{id}/view")
    return _record_page(api, request.path_params["object"], request.path_params["id"])


async def short(api: Api, request: Request) -> Response:
    """GET /{id}: the old address of a record."""
    record_id = id18(request.path_params["id"])
    entity = api.catalog("").by_id(record_id) if record_id else None
    api.state.count_call(STAND_IN, "", "GET", "/{id}")
    if entity is None:
        return _missing()
    return RedirectResponse(f"/lightning/r/{entity.name}/{record_id}/view")


def _record_page(api: Api, object_name: str, given_id: str) -> Response:
    record_id, entity = id18(given_id), api.catalog("").get(object_name)
    if record_id is None or entity is None:
        return _missing()
    key = entity.fields["id"].expression("t")
    found = api.state.row(
        f'SELECT t.*, o.name AS "organization name" FROM "{entity.table}" t '
        f"JOIN organizations o ON o.org = t.org WHERE {key} = ?",
        record_id,
    )
    if found is None:
        return _missing()
    shown = api.catalog(found["org"]).required(entity.name)
    rows = "".join(_line(field, found) for field in shown.fields.values() if field.type != "address" and not field.sql)
    name = str(found["Name"] or record_id)
    deleted = " · in the recycle bin" if "IsDeleted" in found.keys() and found["IsDeleted"] else ""  # noqa: SIM118 (a Row is no dict)
    return page(name, f"{shown.label} · {found['organization name']}{deleted}", f"<table>{rows}</table>")


def _line(field: Field, row: Row) -> str:
    name = f"{escape(field.label)}<br><code>{escape(field.name)}</code>"
    return f"<tr><th>{name}</th><td>{_value(field, row[field.name])}</td></tr>"


def _value(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if field.type == "boolean":
        return "yes" if value else "no"
    text = escape(str(value))
    if field.parent:
        return f'<a href="/lightning/r/{field.parent}/{text}/view">{text}</a>'
    return f'<a href="{text}" rel="noreferrer">{text}</a>' if str(value).startswith(("https://", "http://")) else text


def _missing() -> Response:
    return page("Page doesn't exist", "Check the address, or ask whether the record was deleted.", "", status=404)


def page(title: str, subtitle: str, body: str, status: int = 200) -> Response:
    """A page with a title, a line below it, and `body`, which is HTML."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)} | Salesforce stand-in</title><style>{_STYLE}</style>"
        f"<header><h1>{escape(title)}</h1><small>{escape(subtitle)}</small></header><main>{body}</main></html>",
        status_code=status,
    )
