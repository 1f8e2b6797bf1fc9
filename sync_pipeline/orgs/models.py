"""What an organization's YAML file may say. `config/org.schema.json` is generated from these models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

Rule = Literal["trim", "case", "leading_zeros"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class EnvRef(_Model):
    """The name of an environment variable; its value is read when it is used and stays out of every file."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable."""
    _where: str = PrivateAttr(default="")  # "config/orgs/acme.yaml:12", set by the loader

    def value(self) -> str:
        """The variable's value; ConfigurationError with file and line where it is not set or empty."""
        raise NotImplementedError


Secret = EnvRef
Setting = str | EnvRef
"""A value in the file, or the name of an environment variable that holds it."""


class ClientCredentials(_Model):
    """A server logs in by the id and secret of an External Client App."""

    method: Literal["client_credentials"]
    client_id: Setting
    client_secret: Secret


class JwtBearer(_Model):
    """A server logs in as one user by a signed token; the app holds the certificate."""

    method: Literal["jwt"]
    client_id: Setting
    username: Setting
    private_key: Secret | None = None
    """The private key itself (PEM)."""
    private_key_file: Setting | None = None
    """Path of the private key (PEM). One of the two must be given."""


class SalesforceSettings(_Model):
    """Where accounts, contacts and owners come from."""

    domain: Setting
    """acme.my.salesforce.com, acme--uat.sandbox.my.salesforce.com, or an address on loopback."""
    login: Annotated[ClientCredentials | JwtBearer, Field(discriminator="method")]
    api_version: str = Field(default="66.0", pattern=r"^\d{2}\.0$")
    ca_file: Setting | None = None


class StripeSettings(_Model):
    """Customers of Stripe Billing."""

    system: Literal["stripe"]
    api_key: Secret
    url: Setting = "https://api.stripe.com"
    ca_file: Setting | None = None


class DatabaseSettings(_Model):
    """Customers in a SQL database."""

    system: Literal["database"]
    url: Setting
    """SQLAlchemy address, e.g. {env: BILLING_DATABASE}."""
    query: str | None = None
    """A SELECT. One of query and table must be given."""
    table: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of the customer row (customer_id, name, ...) to columns of the query, where they differ."""
    customer_url: str | None = None
    """Address of a customer's page, with {customer_id} in it."""


class FileSettings(_Model):
    """Customers in a CSV file."""

    system: Literal["file"]
    path: Setting
    encoding: str = "utf-8"
    delimiter: str | None = None
    """Found out where it is not given."""
    columns: dict[str, str] = Field(default_factory=dict)
    customer_url: str | None = None


class Identifier(_Model):
    """The value that a customer and its account share."""

    billing_field: str
    """Field of the billing system: metadata.salesforce_id, id, or a column's name."""
    salesforce_field: str
    """Id, or the API name of an Account field of type string, textarea or reference."""
    normalize: list[Rule] = Field(default_factory=list)
    """Differences to ignore when comparing; none by default."""
    salesforce_id: bool = False
    """Set where a text field holds Salesforce ids: their 15- and 18-character forms are then one identity."""


class Imports(_Model):
    """What comes from Salesforce to the receivables platform."""

    owners: bool = True
    contacts: bool = True
    account_fields: dict[str, str] = Field(default_factory=dict)
    """Account field to the platform's custom field."""
    contact_fields: dict[str, str] = Field(default_factory=dict)


class PortalLinkLife(_Model):
    """How long a portal link is asked for, and when it is renewed."""

    lifetime_days: int = Field(default=60, ge=1, le=365)
    renew_after_days: int = Field(default=30, ge=1, le=364)


class UpflowSettings(_Model):
    """Upflow's API."""

    platform: Literal["upflow"]
    api_key: Secret
    api_secret: Secret
    url: Setting = "https://api.upflow.io/v1"
    ca_file: Setting | None = None
    requests_per_minute: int = Field(default=600, ge=1)
    portal_link: PortalLinkLife = PortalLinkLife()


class WarehouseSettings(_Model):
    """Tables in the organization's warehouse, for a platform of the company's own."""

    platform: Literal["warehouse"]
    portal_link_template: str = Field(pattern=r"^https://[^ ]*\{customer_id\}[^ ]*$")
    portal_link: PortalLinkLife = PortalLinkLife()


class PortalLinkExport(_Model):
    """Takes the portal link to an Account field."""

    salesforce_field: str


class Exports(_Model):
    """What goes back to Salesforce."""

    portal_link: PortalLinkExport | None = None


class Schedule(_Model):
    """When the organization is synced."""

    cron: str = "0 6 * * *"
    timezone: str = "UTC"
    """IANA name, e.g. Europe/Paris."""


class Organization(_Model):
    """One organization: one YAML file, one partition."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Short name: lower-case letters, digits and underscores. It names the partition, the schedule and the warehouse file."""
    label: str | None = None
    salesforce: SalesforceSettings
    billing: Annotated[StripeSettings | DatabaseSettings | FileSettings, Field(discriminator="system")]
    identifier: Identifier
    imports: Imports = Field(default=Imports(), alias="import")
    receivables: Annotated[UpflowSettings | WarehouseSettings, Field(discriminator="platform")]
    export: Exports = Exports()
    schedule: Schedule = Schedule()
    _file: Path = PrivateAttr(default=Path())
    _lines: dict[tuple[Any, ...], int] = PrivateAttr(default_factory=dict)

    def where(self, *path: str | int) -> str:
        """`config/orgs/acme.yaml:12`, the place of a key in the file; the nearest parent's where the key is not written."""
        raise NotImplementedError
