"""What an organization's YAML file may say. `config/org.schema.json` is generated from these models.

A model knows the shape of one value. What two values must have to do with each other stands in `rules.py`, because a
model's own validators are silent as soon as one of its fields is wrong, and a user should hear everything at once.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field, PrivateAttr

from sync_pipeline.billing.settings import BillingSettings
from sync_pipeline.billing.systems import settings
from sync_pipeline.orgs.problems import shown_path
from sync_pipeline.yaml_types.shapes import (
    ApiUrl,
    ApiVersion,
    Cron,
    Domain,
    LinkTemplate,
    OrganizationId,
    SalesforceField,
    TimeZone,
)
from sync_pipeline.yaml_types.values import EnvRef, Name, Secret, Section, Setting, one_of, text

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"

Rule = Literal["trim", "case", "leading_zeros"]

FieldMap = dict[SalesforceField, Name]

if TYPE_CHECKING:
    AnyBilling = BillingSettings
else:  # known only when the modules of the billing systems have been found
    AnyBilling = Union[settings()]  # noqa: UP007


class ClientCredentials(Section):
    """A server logs in by the id and secret of an External Client App."""

    method: Literal["client_credentials"]
    """How the sync logs in."""
    client_id: Setting
    """The app's consumer key."""
    client_secret: Secret
    """The app's consumer secret, named as an environment variable."""


class JwtBearer(Section):
    """A server logs in as one user by a signed token; the app holds the certificate."""

    model_config = one_of("private_key_file", "private_key")

    method: Literal["jwt"]
    """How the sync logs in."""
    client_id: Setting
    """The app's consumer key."""
    username: Setting
    """The Salesforce user the sync works as; pre-authorized for the app."""
    private_key: Secret | None = None
    """The private key itself (PEM), named as an environment variable. Exactly one of it and private_key_file."""
    private_key_file: Setting | None = None
    """Path of the private key (PEM), relative to this file. Exactly one of it and private_key."""


class ApiBudget(Section):
    """How much of the organization's daily API requests a sync may see used, by whomever."""

    warn_percent: int = Field(default=80, ge=1, le=100)
    """Percent of the day's requests from which on a check warns."""
    stop_percent: int = Field(default=95, ge=1, le=100)
    """Percent of the day's requests at which a sync stops, and goes on next time."""


class BrowserLogin(Section):
    """A person logs in once, by `sync-pipeline connect`; the sync goes on as that user (web server flow with PKCE)."""

    method: Literal["browser"]
    """How the sync logs in."""
    client_id: Setting
    """The app's consumer key. Its callback URL is http://localhost:1717/OauthRedirect, its scopes api and refresh_token."""
    client_secret: Secret | None = None
    """The app's consumer secret, named as an environment variable; only where the app requires it."""


class SalesforceSettings(Section):
    """Where accounts, contacts and owners come from."""

    domain: Domain
    """My Domain: acme.my.salesforce.com or acme--uat.sandbox.my.salesforce.com; for a browser login.salesforce.com too."""
    organization_id: OrganizationId | None = None
    """Id of the Salesforce organization (00D..., 15 or 18 characters); a login to any other stops the sync."""
    login: Annotated[ClientCredentials | JwtBearer | BrowserLogin, Field(discriminator="method")]
    """How the sync logs in: client_credentials, jwt or browser."""
    api_version: ApiVersion = "66.0"
    """Version of Salesforce's API, in quotes; 58.0 or newer."""
    full_read_days: int = Field(default=7, ge=1, le=90)
    """Days after which everything is read again, because formula fields and purged records leave no trace."""
    api_budget: ApiBudget = ApiBudget()
    """When to warn, and when to stop, before the organization's daily API requests are used up."""
    ca_file: Setting | None = None
    """A certificate authority (PEM) to trust instead of the system's, relative to this file. Only for private hosts."""


class Identifier(Section):
    """The value that a customer and its account share."""

    billing_field: str = Field(min_length=1, examples=["metadata.salesforce_account_id", "customer_id"])
    """Field of the billing system: metadata.salesforce_id, a column's name. `sync-pipeline billing fields ORG` lists them."""
    salesforce_field: SalesforceField
    """Id, or the API name of an Account field of type string, textarea or reference."""
    normalize: list[Rule] = Field(default_factory=list, json_schema_extra={"uniqueItems": True})
    """Differences to ignore when comparing; none by default."""
    salesforce_id: bool = False
    """Set where a text field holds Salesforce ids: their 15- and 18-character forms are then one identity."""


class Imports(Section):
    """What comes from Salesforce to the receivables platform."""

    owners: bool = True
    """The account owner becomes the customer's assigned user."""
    contacts: bool = True
    """Salesforce contacts replace those of the billing system."""
    account_fields: FieldMap = Field(default_factory=dict, examples=[{"Industry": "Industry", "Segment__c": "Segment"}])
    """Account field: the platform's custom field of the customer."""
    contact_fields: FieldMap = Field(default_factory=dict, examples=[{"Language__c": "Language"}])
    """Contact field: the platform's custom field of the contact."""


class PortalLinkLife(Section):
    """How long a portal link is asked for, and when it is renewed."""

    lifetime_days: int = Field(default=60, ge=1, le=365)
    """Days a link lives."""
    renew_after_days: int = Field(default=30, ge=1, le=364)
    """Days after which a new one is fetched; fewer than it lives."""


class UpflowSettings(Section):
    """Upflow's API."""

    platform: Literal["upflow"]
    """The receivables platform."""
    api_key: Secret
    """The API key, named as an environment variable."""
    api_secret: Secret
    """The API secret, named as an environment variable."""
    url: ApiUrl = "https://api.upflow.io/v1"
    """Address of the API; https://api.sandbox.upflow.io/v1 for a sandbox."""
    ca_file: Setting | None = None
    """A certificate authority (PEM) to trust instead of the system's, relative to this file. Only for private hosts."""
    requests_per_minute: int = Field(default=600, ge=1, le=100_000)
    """How fast the API may be asked; Upflow's own limit is 600."""
    portal_link: PortalLinkLife = PortalLinkLife()
    """Life of the portal links."""


class WarehouseSettings(Section):
    """Tables in the organization's warehouse, for a platform of the company's own."""

    platform: Literal["warehouse"]
    """The receivables platform."""
    portal_link_template: LinkTemplate
    """Address of a customer's portal page, with {customer_id} in it."""
    portal_link: PortalLinkLife = PortalLinkLife()
    """Life of the portal links."""


class PortalLinkExport(Section):
    """Takes the portal link to an Account field."""

    salesforce_field: SalesforceField
    """API name of the Account field that receives the link: long text, or a url field for up to 255 characters."""


class Exports(Section):
    """What goes back to Salesforce."""

    portal_link: PortalLinkExport | None = None
    """The customer's portal link."""


class Schedule(Section):
    """When the organization is synced."""

    cron: Cron = "0 6 * * *"
    """Minute, hour, day of the month, month, day of the week."""
    timezone: TimeZone = "UTC"
    """IANA name of the time zone the schedule is meant in."""


class Organization(Section):
    """One organization: one YAML file, one partition."""

    name: str = Field(pattern=NAME_PATTERN, examples=["acme"])
    """Short name, in lower-case letters, digits and underscores: of the partition, the schedule, the warehouse file."""
    label: Name | None = None
    """Name for people; may hold any character."""
    salesforce: SalesforceSettings
    """Where accounts, contacts and owners come from."""
    billing: Annotated[AnyBilling, Field(discriminator="system")]
    """Where customers come from."""
    identifier: Identifier
    """The value that a customer and its account share."""
    imports: Imports = Field(default=Imports(), alias="import")
    """What comes from Salesforce to the receivables platform."""
    receivables: Annotated[UpflowSettings | WarehouseSettings, Field(discriminator="platform")]
    """The receivables platform: upflow or warehouse."""
    export: Exports = Exports()
    """What goes back to Salesforce."""
    schedule: Schedule = Schedule()
    """When the organization is synced."""
    _file: Path = PrivateAttr(default=Path())
    _lines: dict[tuple[str | int, ...], int] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> Path:
        """The YAML file."""
        return self._file

    def where(self, *path: str | int) -> str:
        """`config/orgs/acme.yaml:12`, the place of a key in the file; its nearest parent's where it is not written.

        Args:
            path: keys as the file writes them (`"import"`, not `"imports"`) and positions in lists.
        """
        return f"{shown_path(self._file)}:{nearest(self._lines, path)}"

    def path(self, setting: str | EnvRef) -> Path:
        """The file a setting names. A relative path counts from the YAML file's folder, wherever the sync is started.

        Raises:
            ConfigurationError: the variable that holds it is not set or empty.
        """
        named = Path(text(setting))
        with suppress(RuntimeError):  # ~somebody who does not exist: the file is not found, and its reader says so
            named = named.expanduser()
        return (self._file.parent / named).absolute()


def name_from(words: str) -> str:
    """The nearest thing to `words` that can be an organization's name, with room for a number after it."""
    name = re.sub(r"[^a-z0-9_]+", "_", words.lower()).strip("_")
    return (name if re.match("[a-z]", name) else f"org_{name}".rstrip("_"))[:55]


def nearest(lines: dict[tuple[str | int, ...], int], path: tuple[str | int, ...]) -> int:
    """Line of `path`, else of its nearest parent that is written; 1 where nothing is."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
