"""How one customer's contacts become what they should be. Worked out on what the customer has right now, so that a
write that was answered but never recorded is not repeated, and a contact is never there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sync_pipeline.receivables.platform import Answer
from sync_pipeline.receivables.upflow.client import Client, Json, Refused

WRITABLE = ("firstName", "lastName", "phone", "email", "position", "jobTitle", "externalId", "isMain", "customFields")
"""† Properties of a contact that may be sent; the list was read in code that uses the API (jobTitle: the guide's "job
title").
"""

_SALESFORCE_ID = re.compile(r"003[A-Za-z0-9]{12}([A-Za-z0-9]{3})?")
"""Contact ids begin with 003: in `externalId` they tell which contacts came from Salesforce."""

Row = dict[str, Any]


@dataclass
class Wanted:
    """What the plan wants of one customer's contacts."""

    customer_id: str
    imports: list[Row] = field(default_factory=list)
    removals: list[Row] = field(default_factory=list)
    restore: bool = False
    saved: list[Json] = field(default_factory=list)
    """The billing system's contacts as they were when they were replaced, the latest last."""
    keep: set[str] = field(default_factory=set)
    """Salesforce ids of further contacts that are known to be right."""
    replaces: bool = False
    """Whether nothing certain is known of its contacts, so that whatever is not wanted has to go."""
    freed: set[str] = field(default_factory=set)
    """Addresses that became free by carrying it out."""


def is_salesforces(contact: Json) -> bool:
    """Whether the contact came from Salesforce."""
    return bool(_SALESFORCE_ID.fullmatch(str(contact.get("externalId") or "")))


def to_be_replaced(wanted: Wanted, current: Sequence[Json]) -> list[Json]:
    """The billing system's contacts that `carry_out` removes or overwrites; to be saved before it runs.

    As they are now, but whose role of the main contact an earlier sync took, and broke off, is saved with it.
    """
    if not wanted.imports:
        return []
    addresses = {row["email"] for row in wanted.imports}
    main = _billing_main(wanted.saved, current)
    return [
        {**contact, "isMain": True} if main and _is_same(contact, main) else contact
        for contact in current
        if not is_salesforces(contact) and (wanted.replaces or address_of(contact) in addresses)
    ]


def _billing_main(saved: Sequence[Json], current: Iterable[Json]) -> Json | None:
    """The main contact as far as the billing system is concerned: who has the role now, or else had it last.

    A Salesforce contact takes the role from those that still stand, so that they don't have it says nothing.
    """
    standing = [contact for contact in current if not is_salesforces(contact)]
    return next((contact for contact in (*standing, *reversed(saved)) if contact.get("isMain")), None)


def _is_same(one: Json, other: Json) -> bool:
    """Whether both are one contact: a contact that was brought back has another id, but no two have one address."""
    address = address_of(one)
    return one["id"] == other["id"] or (address != "" and address == address_of(other))


def carry_out(client: Client, wanted: Wanted, current: Sequence[Json]) -> list[Answer]:
    """Write what differs between `current` and what is wanted; one answer per row, and one for the customer."""
    work = _Work(client, wanted, current)
    if wanted.restore:
        work.restore()
    else:
        for row in sorted(
            wanted.imports, key=lambda row: bool(row["is_main"])
        ):  # the main one last: it takes the role over
            work.bring(row)
    for row in wanted.removals:
        work.remove(row)
    work.clear()
    return work.answers()


class _Work:
    def __init__(self, client: Client, wanted: Wanted, current: Sequence[Json]) -> None:
        self._client = client
        self._wanted = wanted
        self._current = {str(contact["id"]): contact for contact in current}
        self._done: set[str] = set()  # ids of contacts that stand as they should
        self._answers: list[Answer] = []
        self._failure: Refused | None = None  # of a step that belongs to no row

    def bring(self, row: Row) -> None:
        """Create or change one Salesforce contact."""
        target = _body(row)
        platform_id: str | None = None
        try:
            mine = self._mine(row)
            holder = self._holder(row["email"], besides=mine)
            if mine is None and holder is not None:
                mine = holder  # the same person, known from the billing system or under another id: it is taken over
            elif holder is not None:
                self._delete(holder)
            if mine is None:
                mine = self._client.create_contact(self._wanted.customer_id, filled(target))
                platform_id = str(mine["id"]) if mine.get("id") is not None else None
            else:
                platform_id = str(mine["id"])
                if differs(mine, target):
                    self._client.update_contact(
                        self._wanted.customer_id, platform_id, filled({**writable(mine), **target})
                    )
                    self._free(mine, unless=row["email"])
            if platform_id:
                self._current[platform_id] = {**mine, **target}
                self._done.add(platform_id)
            self._answer(row, "imported", platform_id)
        except Refused as error:
            self._answer(row, "refused", platform_id, error)

    def remove(self, row: Row) -> None:
        """Remove a contact that Salesforce no longer has; one that is not there needs nothing."""
        mine = self._mine(row)
        try:
            if mine is not None and str(mine["id"]) not in self._done:
                self._delete(mine)
            self._answer(row, "removed", None)
        except Refused as error:
            self._answer(row, "refused", str(mine["id"]) if mine else None, error)

    def restore(self) -> None:
        """Bring the billing system's contacts back, and their role to the one that a Salesforce contact took it from."""
        main = _billing_main(self._wanted.saved, self._current.values())
        for saved in self._wanted.saved:
            is_main = main is not None and _is_same(saved, main)
            target = {"externalId": None, **writable(saved)}
            if saved.get("isMain"):
                target["isMain"] = is_main
            try:
                holder = self._holder(address_of(saved), besides=None)
                if holder is None:
                    made = self._client.create_contact(self._wanted.customer_id, filled(target))
                    self._done.add(str(made.get("id")))
                else:
                    if not is_salesforces(holder):  # it still stands, and may have changed since it was saved
                        target = {**writable(holder), "isMain": True}
                    if is_salesforces(holder) or (is_main and not holder.get("isMain")):
                        self._client.update_contact(self._wanted.customer_id, str(holder["id"]), filled(target))
                    self._done.add(str(holder["id"]))
            except Refused as error:
                self._failure = self._failure or error

    def clear(self) -> None:
        """Delete what is in the way: other Salesforce contacts, and billing contacts where Salesforce's took their
        place.
        """
        arrived = any(answer.status == "imported" for answer in self._answers)
        for contact in list(self._current.values()):
            surplus = not is_salesforces(contact) and arrived and not self._wanted.restore
            stale = is_salesforces(contact) and str(contact.get("externalId")) not in self._spared()
            if str(contact["id"]) in self._done or not (self._wanted.replaces or (self._wanted.restore and stale)):
                continue
            if not (surplus or stale):
                continue
            try:
                self._delete(contact)
            except Refused as error:
                self._failure = self._failure or error

    def answers(self) -> list[Answer]:
        """One answer for each row, and one for the customer."""
        if self._failure is None:
            return [*self._answers, Answer(self._wanted.customer_id, "settled")]
        refusal = self._failure.refusal
        whole = Answer(self._wanted.customer_id, "unsettled", code=refusal.code, reason=refusal.message)
        return [*self._answers, whole]

    def _spared(self) -> set[str]:
        rows = self._wanted.imports + self._wanted.removals  # their own answers say what became of them
        return self._wanted.keep | {str(row["salesforce_contact_id"]) for row in rows}

    def _mine(self, row: Row) -> Json | None:
        open_ones = {key: contact for key, contact in self._current.items() if key not in self._done}
        by_id = open_ones.get(row["platform_contact_id"] or "")
        if by_id is not None:
            return by_id
        return next((c for c in open_ones.values() if c.get("externalId") == row["salesforce_contact_id"]), None)

    def _holder(self, email: str, *, besides: Json | None) -> Json | None:
        """Another contact that has the address; one that is known to be right is left alone, and Upflow has the say."""
        return next(
            (
                c
                for c in self._current.values()
                if address_of(c) == email and c is not besides and c.get("externalId") not in self._wanted.keep
            ),
            None,
        )

    def _delete(self, contact: Json) -> None:
        self._client.delete_contact(self._wanted.customer_id, str(contact["id"]))
        del self._current[str(contact["id"])]
        self._free(contact)

    def _free(self, contact: Json, unless: str | None = None) -> None:
        if address_of(contact) != unless:
            self._wanted.freed.add(address_of(contact))

    def _answer(self, row: Row, status: str, platform_id: str | None, error: Refused | None = None) -> None:
        self._answers.append(
            Answer(
                self._wanted.customer_id,
                status,
                salesforce_contact_id=row["salesforce_contact_id"],
                platform_id=platform_id,
                code=error.refusal.code if error else None,
                reason=error.refusal.message if error else None,
            )
        )


def _body(row: Row) -> Json:
    return {
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        "phone": row["phone"],
        "email": row["email"],
        "jobTitle": row["title"],
        "externalId": row["salesforce_contact_id"],
        "isMain": bool(row["is_main"]),
    }


def address_of(contact: Json) -> str:
    """A contact's e-mail address as it is compared."""
    return str(contact.get("email") or "").strip().lower()


def differs(contact: Json, target: Json) -> bool:
    """Whether the contact is not yet what it should be; an absent value and an empty one are the same."""
    return any((contact.get(key) or None) != (value or None) for key, value in target.items() if key != "email") or (
        "email" in target and address_of(contact) != target["email"]
    )


def writable(contact: Json) -> Json:
    """What may be sent back of a contact that was read."""
    return {key: contact[key] for key in WRITABLE if key in contact}


def filled(body: Json) -> Json:
    """The body without absent values: where PUT replaces, leaving one out clears it."""
    return {key: value for key, value in body.items() if value is not None}
