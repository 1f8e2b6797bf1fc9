"""Chargebee's own client against a site on loopback, run in the client's environment: prints JSON of what it got.

Arguments: the site's address, its key, a certificate authority, a moment (seconds), the e-mail address of a customer.
"""

import json
import sys
from urllib.parse import urlsplit

from chargebee import APIError, Chargebee

url, key, ca_file, moment, email = sys.argv[1:]
# The client asks SITE.DOMAIN, so the address is given in these two parts.
site, _, domain = urlsplit(url).netloc.partition(".")
Chargebee.ca_cert_path = ca_file


def client(key):
    return Chargebee(api_key=key, site=site, chargebee_domain=domain, protocol=urlsplit(url).scheme)


def listed(**asked):
    found, offset = [], None
    while True:
        answer = client(key).Customer.list({**asked, **({"offset": offset} if offset else {})})
        found += [entry.customer for entry in answer.list]
        offset = answer.next_offset
        if not offset:
            return found


def refusal(key=key, **asked):
    try:
        client(key).Customer.list(asked)
    except APIError as error:
        return [type(error).__name__, error.http_status_code, error.api_error_code, error.param]


everybody = listed(limit=100, include_deleted=True, sort_by={"asc": "created_at"})
print(
    json.dumps(
        {
            "everybody": [[one.id, one.deleted, one.raw_data.get("cf_salesforce_id")] for one in everybody],
            "contacts": [contact.email for one in everybody for contact in one.contacts or []],
            "created": [one.created_at for one in listed(limit=100)],
            "changed": [
                one.id for one in listed(limit=7, updated_at={"after": int(moment)}, sort_by={"desc": "updated_at"})
            ],
            "named": [one.email for one in listed(email={"is": email})],
            "wrong": [
                refusal(key="test_wrong"),
                refusal(limit=101),
                refusal(offset="somewhere"),
                refusal(sort_by={"asc": "email"}),
                refusal(shoe={"is": "42"}),
            ],
        }
    )
)
