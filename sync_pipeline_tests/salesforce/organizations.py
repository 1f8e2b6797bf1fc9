"""Organizations for tests, without a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.sandbox.salesforce import world

SERVER = {"method": "client_credentials", "client_id": "3MVG9", "client_secret": {"env": "ACME_SECRET"}}


def organization(domain: str, **sections: Any) -> Organization:
    """An organization at `domain`; `sections` replace those of the YAML file."""
    return Organization.model_validate(
        {
            "name": "acme",
            "salesforce": {"domain": domain, "login": SERVER},
            "billing": {"system": "file", "path": "customers.csv"},
            "identifier": {"billing_field": "company_number", "salesforce_field": "Company_Number__c"},
            "receivables": {
                "platform": "warehouse",
                "portal_link_template": "https://pay.example.com/{customer_id}",
            },
        }
        | sections
    )


def connected(url: str, ca_file: Path, **sections: Any) -> Organization:
    """An organization whose Salesforce is the stand-in."""
    login = SERVER | {"client_id": f"client-{world.ORG}"}
    settings = {"domain": url, "ca_file": str(ca_file), "login": login}
    identifier = {"billing_field": "customer_id", "salesforce_field": "Billing_Id__c"}
    return organization(url, **({"salesforce": settings, "identifier": identifier} | sections))
