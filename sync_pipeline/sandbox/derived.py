"""What follows from accounts and customers, made inside SQLite: contacts, and what Upflow holds before the first sync.

Rows made in Python and bound one by one cost several times what INSERT ... SELECT costs, and these are most rows.
Dice are squares modulo primes below 2**31: whole numbers that SQLite can multiply without overflow.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

from sync_pipeline.sandbox.ids import CAPITALS, DIGITS, PAIRS, SUFFIX, SalesforceIds, mixed, uuid_of
from sync_pipeline.sandbox.pools import COUNTRY_CODES, DAYS, DEPARTMENTS, Pools

MOST_CONTACTS = 4
ABSENT, NO_PORTAL, EVERY = 5, 11, 397
"""Of every 397 customers the fifth is not in Upflow, and the eleventh has portal access switched off."""
CHILD = 23
"""One of so many customers has the one before as its parent."""

_POSITIONS = ("ACCOUNTING", "PAYER", "PURCHASER", "SALES", None)
_REGIONS = ("North", 'South "B"', "West, far", "East")
_DICE = """
    x * x % 2147483629 AS d, (x + 40503) * (x / 3 + 7) % 2147483587 AS e, (x + 9973) * (x / 5 + 11) % 2147483563 AS f
"""

_CONTACTS = f"""
    WITH numbered AS MATERIALIZED (
        SELECT "Id" AS account_id, number, y * y % 2147483629 AS h
        FROM (
            SELECT "Id", CAST("Legacy_Number__c" AS INTEGER) - 1 AS number,
                (CAST("Legacy_Number__c" AS INTEGER) * 1103515245 + :salt) % 2147483647 AS y
            FROM account WHERE org = :org AND "Id" BETWEEN :first AND :last AND NOT "IsDeleted"
        )
    ),
    thrown AS (
        SELECT account_id, number, place.n AS place, number * {MOST_CONTACTS} + place.n AS c,
            ((number * {MOST_CONTACTS} + place.n) * 69069069 + :salt) % 2147483647 AS x
        FROM numbered CROSS JOIN temp.pool_place AS place
            ON place.n < CAST(substr('01122234', 1 + h % 8, 1) AS INTEGER)
    ),
    diced AS MATERIALIZED (
        SELECT account_id, number, place, (c + :id_first) % 3844 AS low, (c + :id_first) / 3844 % 3844 AS middle,
            (c + :id_first) / 14776336 AS top, {_DICE}
        FROM thrown
    )
    INSERT INTO contact
    SELECT :org,
        :id_head || substr(:digits, 1 + top, 1) || middle.text || low.text || :id_suffix
            || substr(:suffixes, 1 + (substr(:digits, 1 + top, 1) BETWEEN 'A' AND 'Z') + 2 * middle.capitals
            + 8 * low.capitals, 1),
        account_id,
        CASE WHEN e % 41 <> 3 THEN first.text END,
        last.text,
        CASE WHEN e % 41 <> 3 THEN first.text || ' ' || last.text ELSE last.text END,
        CASE
            WHEN f % 1000 >= :wrong
                THEN first.slug || '.' || last.slug || '.' || number || substr('abcd', 1 + place, 1)
                    || '@c' || number || '.example'
            WHEN e % 3 > 0 THEN ''
        END,
        CASE WHEN e % 5 > 0
            THEN '+1 (555) ' || substr('000' || d % 1000, -3) || '-' || substr('0000' || f % 10000, -4)
        END,
        title.text,
        department.text,
        CASE WHEN f % 11 > 0 THEN first.language END,
        0, NULL,
        day.text || minute.text, day.text || minute.text, day.text || minute.text
    FROM diced
    CROSS JOIN temp.pool_pair AS middle ON middle.n = diced.middle
    CROSS JOIN temp.pool_pair AS low ON low.n = diced.low
    CROSS JOIN temp.pool_first AS first ON first.n = d % :firsts
    CROSS JOIN temp.pool_last AS last ON last.n = e % :lasts
    CROSS JOIN temp.pool_title AS title ON title.n = f % :titles
    CROSS JOIN temp.pool_department AS department ON department.n = d % {len(DEPARTMENTS)}
    CROSS JOIN temp.pool_day AS day ON day.n = d % {DAYS // 4} * 4 + place
    CROSS JOIN temp.pool_minute AS minute ON minute.n = e % 1440
"""
"""Days differ among the contacts of an account, so that one is the oldest. An empty address is shared below."""

_SHARED = """
    UPDATE contact SET "Email" = (
        SELECT CASE WHEN length(before."Title") % 2 THEN upper(before."Email") ELSE before."Email" END
        FROM contact AS before
        WHERE before.org = :org AND before."Id" < contact."Id" AND before."Email" <> ''
        ORDER BY before."Id" DESC LIMIT 1
    )
    WHERE org = :org AND "Email" = '' AND "Id" >= :first_contact
"""
"""Takes the address of the contact before, of the same account or of another, half of them in capitals."""

_UPFLOW_CUSTOMERS = f"""
    WITH thrown AS (
        SELECT *, (number * 69069069 + :salt) % 2147483647 AS x
        FROM temp.made_customer WHERE number % {EVERY} <> :absent
    ),
    diced AS MATERIALIZED (SELECT number, id, external_id, name, minor_units, {_DICE} FROM thrown)
    INSERT INTO upflow_customer
    SELECT :org, id, number, external_id, name,
        CASE WHEN e % 3 > 0 THEN 'FR' || substr('00000000000' || d, -11) END,
        '411' || substr('0000000' || number, -7),
        CASE WHEN f % 5 = 0 THEN (SELECT manager.id FROM temp.pool_manager AS manager WHERE manager.n = d % 3) END,
        CASE WHEN d % 4 > 0 THEN 'plan-' || d % 4 END,
        address.text,
        CASE WHEN number % {CHILD} = 0 THEN (
            SELECT json_object('id', parent.id, 'externalId', parent.external_id)
            FROM temp.made_customer AS parent WHERE parent.number = diced.number - 1 AND parent.number % {EVERY} <> :absent
        ) END,
        CASE WHEN e % 7 = 0 THEN '{{"card": true, "directDebit": false}}' END,
        CASE WHEN d % 2 THEN region.text ELSE '[]' END,
        max(0, minor_units),
        f % 6,
        number % {EVERY} <> {NO_PORTAL}
    FROM diced
    CROSS JOIN temp.pool_address AS address ON address.n = e % :addresses
    CROSS JOIN temp.pool_region AS region ON region.n = f % {len(_REGIONS)}
"""
_UPFLOW_CONTACTS = f"""
    WITH thrown AS (
        SELECT id AS customer_id, number, account_number, contact_id, place.n AS place,
            ((number * 2 + place.n) * 69069069 + :salt) % 2147483647 AS x
        FROM temp.made_customer CROSS JOIN temp.pool_place AS place ON place.n < 1 + (number * 7 % 16 > 8)
        WHERE number % {EVERY} <> :absent
    ),
    diced AS MATERIALIZED (SELECT customer_id, number, account_number, contact_id, place, {_DICE} FROM thrown)
    INSERT INTO upflow_contact
    SELECT :org,
        printf('%08x-%04x-7%03x-9%03x-%012x', number * 2 + place + 26214400, e % 65536, d % 4096, f % 4096,
            f * 65536 + e % 65536),
        customer_id, place, first.text, last.text, NULL,
        coalesce(
            CASE WHEN place = 0 AND f % 3 = 0 THEN (
                SELECT "Email" FROM contact WHERE org = :org AND "Id" = contact_id
                AND "Email" GLOB '*.' || account_number || 'a@c' || account_number || '.example'
            ) END,
            first.slug || '.' || last.slug || '.' || number || substr('yz', 1 + place, 1) || '@billing-contacts.example'
        ),
        position.text, NULL, NULL, place = 0, '[]'
    FROM diced
    CROSS JOIN temp.pool_first AS first ON first.n = e % :firsts
    CROSS JOIN temp.pool_last AS last ON last.n = d % :lasts
    CROSS JOIN temp.pool_position AS position ON position.n = f % {len(_POSITIONS)}
"""
"""A third of the customers whose account has a contact with an address of its own share that person with Salesforce."""


class MadeCustomer(NamedTuple):
    """A billing customer as Upflow needs it: one row of the temporary table `made_customer`."""

    number: int
    id: str
    external_id: str
    name: str
    minor_units: int
    account_number: int | None
    """Number of the account that is clearly the customer's, if one is."""
    contact_id: str | None
    """Id of that account's first contact, if it has contacts."""


class Derived:
    """Inserts contacts and Upflow's side of one organization, portion by portion.

    Every Upflow customer has more than a name (address, VAT number, a custom field of the company's own), so that a
    client which writes back less than it read loses something a test can see.

    Args:
        db: the draft of the state.
        org: name of the organization.
        pools: names and dates.
        salt: the organization's own dice.
        contact_id: makes ids of contacts; the first of account n has number n * MOST_CONTACTS.
        trouble: share of contacts in whose addresses something is wrong: none, or one that another contact has.
        user_emails: addresses of Salesforce users; the first three have a user in Upflow already.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        org: str,
        pools: Pools,
        salt: int,
        contact_id: SalesforceIds,
        trouble: float,
        user_emails: list[str],
    ) -> None:
        self._db = db
        managers = [uuid_of(n, mixed(n, salt ^ 0xA)) for n in range(3)]
        region = uuid_of(0, mixed(1, salt))
        self._parameters = {
            "org": org,
            "salt": salt % 1_000_003,
            "absent": -1 if org == "upflow" else ABSENT,  # it lacks nobody where it is the billing system
            "wrong": int(trouble * 1000),
            "digits": DIGITS,
            "suffixes": SUFFIX,
            "id_first": contact_id.first,
            "id_head": contact_id.head,
            "id_suffix": contact_id.head_suffix,
            "firsts": len(pools.first_names),
            "lasts": len(pools.last_names),
            "titles": len(pools.titles),
            "addresses": len(COUNTRY_CODES),
        }
        self._fill_pools(pools, managers, region)
        users = [(org, one, email, None, None, None, True) for one, email in zip(managers, user_emails, strict=False)]
        db.executemany("INSERT INTO upflow_user VALUES (?, ?, ?, ?, ?, ?, ?)", users)
        field = (org, region, "Region", "STRING", "CUSTOMER")
        db.execute("INSERT INTO upflow_custom_field VALUES (?, ?, ?, ?, ?)", field)

    def insert(self, account_ids: tuple[str, str] | None, first_contact: str, customers: list[MadeCustomer]) -> None:
        """Insert what follows from one portion.

        Args:
            account_ids: first and last id of its accounts, which are inserted already; None where it has none.
            first_contact: id of the first contact that they could have.
            customers: its billing customers.
        """
        db = self._db
        if account_ids:
            accounts = {"first": account_ids[0], "last": account_ids[1], "first_contact": first_contact}
            db.execute(_CONTACTS, {**self._parameters, **accounts})
            db.execute(_SHARED, {**self._parameters, **accounts})
        db.executemany("INSERT INTO temp.made_customer VALUES (?, ?, ?, ?, ?, ?, ?)", customers)
        db.execute(_UPFLOW_CUSTOMERS, self._parameters)
        db.execute(_UPFLOW_CONTACTS, self._parameters)
        db.execute("DELETE FROM temp.made_customer")

    def _fill_pools(self, pools: Pools, managers: list[str], region: str) -> None:
        """Temporary tables to pick from, by number."""
        regions = [json.dumps([{"id": region, "value": value}]) for value in _REGIONS]
        addresses = [
            json.dumps(
                {"address": f"{n} Rue de l'Église", "zipcode": f"{10000 + n}", "city": "Zürich", "country": code}
            )
            for n, code in enumerate(COUNTRY_CODES)
        ]
        tables: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
            "place": ("", [() for _ in range(MOST_CONTACTS)]),
            "pair": ("text, capitals", list(zip(PAIRS, CAPITALS, strict=True))),
            "first": ("text, slug, language", [(one.text, one.slug, language) for one, language in pools.first_names]),
            "last": ("text, slug", [(one.text, one.slug) for one in pools.last_names]),
            "title": ("text", [(text,) for text in pools.titles]),
            "department": ("text", [(text,) for text in DEPARTMENTS]),
            "day": ("text", [(text,) for text in pools.days]),
            "minute": ("text", [(text,) for text in pools.minutes]),
            "manager": ("id", [(one,) for one in managers]),
            "region": ("text", [(text,) for text in regions]),
            "address": ("text", [(text,) for text in addresses]),
            "position": ("text", [(text,) for text in _POSITIONS]),
        }
        self._db.execute("DROP TABLE IF EXISTS temp.made_customer")
        number, *others = MadeCustomer._fields
        self._db.execute(f"CREATE TEMP TABLE made_customer ({number} INTEGER PRIMARY KEY, {', '.join(others)})")
        for name, (columns, rows) in tables.items():
            self._db.execute(f"DROP TABLE IF EXISTS temp.pool_{name}")
            self._db.execute(f"CREATE TEMP TABLE pool_{name} (n INTEGER PRIMARY KEY{columns and ', ' + columns})")
            numbered = [(n, *row) for n, row in enumerate(rows)]
            marks = ", ".join("?" * len(numbered[0]))
            self._db.executemany(f"INSERT INTO temp.pool_{name} VALUES ({marks})", numbered)
