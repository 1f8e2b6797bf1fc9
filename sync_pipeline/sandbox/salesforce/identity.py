"""Who is connected, and what the service offers: versions, resources, userinfo, the identity address, limits."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from sync_pipeline.sandbox.salesforce.api import LISTED_VERSIONS, STAND_IN, Api, Call, bearer, origin
from sync_pipeline.sandbox.salesforce.permissions import require_setup

_SEASONS = ("Winter", "Spring", "Summer")
_RESOURCES = ("composite", "jobs", "limits", "query", "queryAll", "sobjects", "tooling")


def versions() -> list[dict[str, str]]:
    """The body of /services/data. 59.0 was Winter '24, and there are three a year."""
    listed = []
    for number in LISTED_VERSIONS:
        year, season = divmod(number - 59, 3)
        label = f"{_SEASONS[season]} '{24 + year}"
        listed.append({"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
    return listed


async def resources(call: Call) -> Response:
    """GET /services/data/vXX.0: the address of every resource; clients look for `identity`."""
    found = {name: f"{call.base}/{name}" for name in _RESOURCES}
    return JSONResponse({**found, "identity": _identity_address(call.organization, origin(call.request))})


async def limits(call: Call) -> Response:
    """GET limits: most and remaining, of what the project's clients look at."""
    require_setup(call.api.rights(call.org))
    bulk_jobs = call.api.state.row("SELECT count(*) FROM job WHERE org = ? AND kind = 'query'", call.org)
    used, usage = bulk_jobs[0] if bulk_jobs else 0, call.api.usage
    return JSONResponse(
        {
            "ConcurrentAsyncGetReportInstances": {"Max": 200, "Remaining": 200},
            "DailyApiRequests": {"Max": usage.limit, "Remaining": max(0, usage.limit - usage.used(call.org))},
            "DailyAsyncApexExecutions": {"Max": 250_000, "Remaining": 250_000},
            "DailyBulkApiBatches": {"Max": 15_000, "Remaining": 15_000},
            "DailyBulkV2QueryFileStorageMB": {"Max": 976_562, "Remaining": 976_562},
            "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": max(0, 10_000 - used)},
            "DataStorageMB": {"Max": 10_240, "Remaining": 9_000},
            "FileStorageMB": {"Max": 10_240, "Remaining": 10_240},
        }
    )


async def userinfo(api: Api, request: Request) -> Response:
    """GET or POST /services/oauth2/userinfo, as OpenID Connect has it."""
    organization = api.session_org(bearer(request) or str(request.query_params.get("access_token", "")))
    api.state.count_call(
        STAND_IN, organization["org"] if organization else "", request.method, "/services/oauth2/userinfo"
    )
    if organization is None:
        return PlainTextResponse("Bad_OAuth_Token", status_code=403)
    user = _user(api, organization)
    address = origin(request)
    return JSONResponse(
        {
            "sub": _identity_address(organization, address),
            "user_id": user["Id"],
            "organization_id": organization["organization_id"],
            "preferred_username": user["Username"],
            "nickname": user["FirstName"] or user["LastName"],
            "name": user["Name"],
            "email": user["Email"],
            "email_verified": True,
            "given_name": user["FirstName"],
            "family_name": user["LastName"],
            "zoneinfo": "GMT",
            "photos": {"picture": f"{address}/profilephoto/005/F", "thumbnail": f"{address}/profilephoto/005/T"},
            "profile": f"{address}/{user['Id']}",
            "picture": f"{address}/profilephoto/005/F",
            "address": {"country": "FR"},
            "is_salesforce_integration_user": False,
            "urls": _urls(organization, address),
            "active": bool(user["IsActive"]),
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 0,
            "updated_at": user["LastModifiedDate"],
        }
    )


async def identity(api: Api, request: Request) -> Response:
    """GET /id/{organization}/{user}: only the connected user's own."""
    organization = api.session_org(bearer(request))
    api.state.count_call(STAND_IN, organization["org"] if organization else "", request.method, "/id")
    if organization is None:
        return PlainTextResponse("Bad_OAuth_Token", status_code=403)
    asked = (request.path_params["organization"][:15], request.path_params["user"][:15])
    if asked != (organization["organization_id"][:15], organization["user_id"][:15]):
        return PlainTextResponse("Wrong_Org", status_code=403)
    user = _user(api, organization)
    return JSONResponse(
        {
            "id": _identity_address(organization, origin(request)),
            "asserted_user": True,
            "user_id": user["Id"],
            "organization_id": organization["organization_id"],
            "username": user["Username"],
            "nick_name": user["FirstName"] or user["LastName"],
            "display_name": user["Name"],
            "email": user["Email"],
            "email_verified": True,
            "first_name": user["FirstName"],
            "last_name": user["LastName"],
            "timezone": "GMT",
            "urls": _urls(organization, origin(request)),
            "active": bool(user["IsActive"]),
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 0,
            "last_modified_date": user["LastModifiedDate"],
            "is_app_installed": True,
        }
    )


def _identity_address(organization: Any, address: str) -> str:
    return f"{address}/id/{organization['organization_id']}/{organization['user_id']}"


def _user(api: Api, organization: Any) -> dict[str, Any]:
    found = api.state.row(
        'SELECT * FROM "user" WHERE org = ? AND "Id" = ?', organization["org"], organization["user_id"]
    )
    if found is None:
        raise LookupError(f"organization {organization['org']} names a user that is not in its state")
    return dict(found)


def _urls(organization: Any, address: str) -> dict[str, str]:
    rest = f"{address}/services/data/v{{version}}/"
    return {
        "rest": rest,
        "sobjects": f"{rest}sobjects/",
        "search": f"{rest}search/",
        "query": f"{rest}query/",
        "profile": f"{address}/{organization['user_id']}",
        "custom_domain": address,
    }
