"""Addresses of record pages in Salesforce."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

_MY_DOMAIN = ".my.salesforce.com"


def record_url(instance_url: str, object_name: str, record_id: str) -> str:
    """The record's page in Lightning, e.g. `https://acme.lightning.force.com/lightning/r/Account/001.../view`.

    A host that is no My Domain (a government cloud, loopback) keeps its name: Salesforce redirects from there.
    """
    parts = urlsplit(instance_url)
    host = re.sub(re.escape(_MY_DOMAIN) + "$", ".lightning.force.com", parts.netloc)
    return f"{parts.scheme}://{host}/lightning/r/{quote(object_name, safe='')}/{quote(record_id, safe='')}/view"
