"""A hand-filled state: one organization, a few records, each there for a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sync_pipeline.sandbox.salesforce.ids import make_id
from sync_pipeline.sandbox.state import State

ORG, OTHER = "stripe", "file"
ORGANIZATION_ID = make_id("00D", 7001)
USER = make_id("005", 1)
LEAVER = make_id("005", 2)
ACME, BETA, GAMMA, DELETED, LOSER = (make_id("001", number) for number in range(1, 6))
CAPITAL_ID, SMALL_ID = make_id("001", 36 + 62 * 9), make_id("001", 10 + 62 * 9)  # ...0000009a and ...0000009A
OTHERS = make_id("001", 500)
TOKEN = f"{ORGANIZATION_ID[:15]}!AQtoken"
PASSWORD, SECURITY_TOKEN = "p<ss & wörd", "T0kEn"
OTHER_TOKEN = f"{make_id('00D', 7002)[:15]}!AQother"
CREATED = "2024-01-31T10:11:12.000Z"

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_KEY = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC_KEY = (
    _KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


def insert(state: State, table: str, **columns: Any) -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" * len(columns))
    state.db.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', tuple(columns.values()))


def add_account(state: State, record_id: str, name: str, org: str = ORG, **columns: Any) -> None:
    given = {
        "OwnerId": USER,
        "IsDeleted": 0,
        "CreatedDate": CREATED,
        "LastModifiedDate": CREATED,
        "SystemModstamp": CREATED,
    }
    insert(state, "account", org=org, Id=record_id, Name=name, **(given | columns))


def fill(folder: Path) -> State:
    state = State(folder / "state.sqlite")
    stamps = {"CreatedDate": CREATED, "LastModifiedDate": CREATED, "SystemModstamp": CREATED}
    for number, (org, token) in enumerate([(ORG, TOKEN), (OTHER, OTHER_TOKEN)], 1):
        insert(
            state,
            "organizations",
            org=org,
            billing=org,
            organization_id=make_id("00D", 7000 + number),
            name=f"Company {number}",
            is_sandbox=number - 1,
            user_id=USER,
            username=f"admin@{org}.example",
            client_id=f"client-{org}",
            client_secret=f"secret+{org}/%",
            public_key=PUBLIC_KEY,
            access_token=token,
            upflow_key=org,
            upflow_secret=org,
            password=PASSWORD,
            security_token=SECURITY_TOKEN,
        )
        insert(state, "session", org=org, access_token=token, created_at=0, expires_at=2**40)
        for user, first, last, active in ((USER, "Ada", "Admin", 1), (LEAVER, "Leo", "Leaver", 0)):
            insert(
                state,
                "user",
                org=org,
                Id=user,
                Username=f"{first}@{org}.example".lower(),
                Name=f"{first} {last}",
                FirstName=first,
                LastName=last,
                Email=f"{first}@{org}.example".lower(),
                IsActive=active,
                **stamps,
            )
    add_account(
        state,
        ACME,
        'Acme "Rockets", Ltd.\nSecond line',
        Industry="Retail",
        Billing_Id__c="0012",
        AnnualRevenue=1_000_000.0,
        NumberOfEmployees=12,
        BillingCountry="FR",
        Legacy_Number__c=12.0,
        Score__c=1.5,
        Hidden__c="secret",
        Portal_Link__c="https://old.example/1",
    )
    add_account(state, BETA, "ÉTÉ & Söhne 🚀", OwnerId=LEAVER, ParentId=ACME, Industry="Banking", Billing_Id__c="twin")
    add_account(state, GAMMA, "50% off_now \\ back", Billing_Id__c="twin", NumberOfEmployees=0)
    add_account(state, DELETED, "Deleted", IsDeleted=1)
    add_account(state, LOSER, "Merged away", IsDeleted=1, MasterRecordId=ACME)
    add_account(state, OTHERS, "Of the other organization", org=OTHER)
    contact = {"AccountId": ACME, "IsDeleted": 0, **stamps}
    insert(
        state,
        "contact",
        org=ORG,
        Id=make_id("003", 1),
        FirstName="Zoë",
        LastName="O'Neil",
        Name="Zoë O'Neil",
        Email="zoe@acme.example",
        **contact,
    )
    insert(
        state,
        "contact",
        org=ORG,
        Id=make_id("003", 2),
        LastName="Nobody",
        Name="Nobody",
        **contact | {"AccountId": None},
    )
    return state


def many_accounts(state: State, count: int, first: int = 10**6) -> list[str]:
    """Add accounts Many 0, Many 1, ...; their ids, in order."""
    ids = [make_id("001", first + number) for number in range(count)]
    with state.transaction():
        for number, record_id in enumerate(ids):
            add_account(state, record_id, f"Many {number}", Billing_Id__c=f"{number:06}")
    return ids
