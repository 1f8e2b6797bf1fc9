"""Salesforce as the rest of the project sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simple_salesforce.api import Salesforce

from sync_pipeline.errors import DataError, ReconnectError
from sync_pipeline.http import translated
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce.budget import Budget
from sync_pipeline.salesforce.logins.login import Token, login_of, when_refused
from sync_pipeline.salesforce.organization import refuse_other_login
from sync_pipeline.salesforce.session import ApiRefusal, SalesforceSession, understood


def connect(org: Organization) -> Client:
    """Log in and return a client; the token exchange happens now.

    Raises:
        ReconnectError: Salesforce refuses the credentials, with its own reason, or nobody has connected the organization.
        ConfigurationError: the domain, a key or an environment variable is wrong; the YAML file pins another organization.
        TransientError: Salesforce can't be reached.
    """
    client = Client(session_of(org, login_of(org)), org.salesforce.api_version)
    refuse_other_login(org, client.organization_id)
    return client


def session_of(org: Organization, log_in: Callable[[], Token]) -> SalesforceSession:
    """A session of the organization that gets its tokens from `log_in`."""
    ca_file = str(org.path(org.salesforce.ca_file)) if org.salesforce.ca_file else None
    budget = Budget(org.salesforce.api_budget, org.where("salesforce", "api_budget"))
    return SalesforceSession(log_in, ca_file=ca_file, budget=budget, when_refused=when_refused(org))


@dataclass(frozen=True, slots=True)
class Deletions:
    """Ids of deleted records; from when on Salesforce knows deletions, and up to when it knew them all (UTC)."""

    ids: list[str]
    earliest: datetime | None = None
    covered: datetime | None = None


class Client:
    """simple-salesforce on a session that refreshes, retries and explains; Bulk (`bulk.py`) works on the same session.

    Every method may raise what `SalesforceSession.request` raises.

    Args:
        session: a logged-in session.
        version: API version, e.g. "66.0".
    """

    def __init__(self, session: SalesforceSession, version: str) -> None:
        self.session = session
        self.version = version
        self.instance_url = session.instance_url
        self.organization_id = session.organization_id
        self.data_url = f"{self.instance_url}/services/data/v{version}"
        # The session adds its own token to every request.
        self._salesforce = Salesforce(
            instance_url=self.instance_url, session_id="", session=session, version=version, object_pairs_hook=dict
        )
        self._described: dict[str, dict[str, Any]] = {}

    def organization(self) -> dict[str, Any]:
        """Id, Name, IsSandbox and further facts of the organization behind the login."""
        fields = "Id, Name, InstanceName, IsSandbox, TrialExpirationDate, NamespacePrefix, OrganizationType"
        found = next(self.query(f"SELECT {fields} FROM Organization"), None)
        if not found or "Id" not in found:
            raise DataError(f"Salesforce ({self.instance_url}) names no organization behind this login.")
        return found

    def describe(self, object_name: str) -> dict[str, Any]:
        """Salesforce's description of an object and the fields the connected user may see; asked for once.

        Raises:
            ReconnectError: the user may not see the object at all.
        """
        if object_name not in self._described:
            try:
                described = self.call("GET", f"/sobjects/{object_name}/describe")
                with understood(f"the description of {object_name}"):
                    self._described[object_name] = {**described, "fields": list(described["fields"])}
            except ApiRefusal as refusal:
                if refusal.status != 404:
                    raise
                raise ReconnectError(
                    f"Salesforce shows the connected user no object {object_name} ({refusal.code}: {refusal.reason}).",
                    next_step=f"Give the user read access to {object_name}, by a profile or a permission set.",
                ) from refusal
        return self._described[object_name]

    def query(self, soql: str, *, deleted_too: bool = False) -> Iterator[dict[str, Any]]:
        """Rows of a REST query as they arrive, without Salesforce's `attributes`. What is large goes by Bulk query."""
        rows = self._salesforce.query_all_iter(soql, include_deleted=deleted_too)
        while True:
            with translated("Salesforce"), understood("a query"):
                row = next(rows, None)
                if row is None:
                    return
                row.pop("attributes", None)
            yield row

    def count(self, object_name: str, condition: str, *, deleted_too: bool = False) -> int:
        """How many records meet a condition of SOQL; one request."""
        path = "/queryAll" if deleted_too else "/query"
        soql = f"SELECT COUNT() FROM {object_name} WHERE {condition}"
        answer = self.call("GET", path, params={"q": soql})
        with understood("a count"):
            return int(answer["totalSize"])

    def deleted(self, object_name: str, since: datetime, until: datetime) -> Deletions:
        """What was deleted between two moments (UTC, whole minutes).

        Source: REST API Developer Guide, "sObject Get Deleted"; deletions are known for 15 days.

        Raises:
            ApiRefusal: the object keeps no record of deletions, the window is refused, or there are too many.
        """
        window = {"start": f"{since:%Y-%m-%dT%H:%M:%S}+00:00", "end": f"{until:%Y-%m-%dT%H:%M:%S}+00:00"}
        answer = self.call("GET", f"/sobjects/{object_name}/deleted/", params=window)
        with understood("what was deleted"):
            earliest, covered = answer.get("earliestDateAvailable"), answer.get("latestDateCovered")
            return Deletions(
                [str(item["id"]) for item in answer["deletedRecords"]],
                _utc(earliest) if earliest else None,
                _utc(covered) if covered else None,
            )

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Send one request to `path` below `/services/data/vXX.X` and return the JSON it answers."""
        with translated("Salesforce"):
            return self.session.request(method, f"{self.data_url}{path}", **kwargs).json()


def _utc(moment: str) -> datetime:
    """A moment as Salesforce's JSON writes it (2026-11-24T14:00:00.000+0000): UTC, without a zone."""
    return datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None)
