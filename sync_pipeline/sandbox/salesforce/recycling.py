"""Deleting, merging, undeleting and purging records, with what each does to the records around them.

A deleted record stays in the recycle bin (`IsDeleted`, and where it lost a merge `MasterRecordId`) and is seen by queryAll
and getDeleted only. `SystemModstamp` moves with every step, so a reader that asks for what changed meets it; a purge leaves
no record at all, only a later `earliestDateAvailable` in getDeleted's answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sync_pipeline.sandbox.salesforce.api import Api
from sync_pipeline.sandbox.salesforce.errors import RowError
from sync_pipeline.sandbox.salesforce.objects import SObject

PURGES = (
    "CREATE TABLE IF NOT EXISTS salesforce_purge ("
    "org TEXT NOT NULL, object TEXT NOT NULL, deleted_at TEXT NOT NULL, PRIMARY KEY (org, object)) WITHOUT ROWID"
)
"""When the last record that was purged had been deleted."""

_CHILDREN = {"Account": (("contact", "AccountId"), ("account", "ParentId"))}
"""Tables whose records point at an object, and where: a merge brings them to the winner."""

_DEPENDENTS = {"Account": (("contact", "AccountId"),)}
"""Those that are deleted, restored and purged with the record they point at."""


def now_text() -> str:
    """This moment as the state keeps it: 2024-05-01T08:00:00.000Z."""
    moment = datetime.now(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


class RecycleBin:
    """The recycle bin of one object of one organization. Statements run in the caller's transaction, if there is one."""

    def __init__(self, api: Api, org: str, entity: SObject) -> None:
        self._api = api
        self._org = org
        self._entity = entity
        self._table = f'"{entity.table}"'

    def living(self, record_id: str) -> None:
        """Check that a record is there and not in the bin.

        Raises:
            RowError: INVALID_CROSS_REFERENCE_KEY, ENTITY_IS_DELETED.
        """
        deleted = self._deleted(record_id)
        if deleted is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if deleted:
            raise RowError("ENTITY_IS_DELETED", "entity is deleted")

    def delete(self, record_id: str) -> None:
        """Move a living record to the bin, and its dependents with it, at one moment."""
        moment = now_text()
        for table, column in _DEPENDENTS.get(self._entity.name, ()):
            self._change(table, '"IsDeleted" = 1', f'"{column}" = ? AND "IsDeleted" = 0', moment, record_id)
        self._change(self._entity.table, '"IsDeleted" = 1', '"Id" = ?', moment, record_id)

    def merge(self, winner: str, losers: Iterable[str]) -> None:
        """Merge living records into another, as a person does in Salesforce.

        Losers that an earlier merge put into the bin keep the master they had then (not found documented; a client has to
        follow the chain either way).

        Raises:
            RowError: one of them is not there, is in the bin, or loses against itself.
        """
        losers = list(losers)
        if winner in losers or not losers:
            raise RowError("INVALID_OPERATION", "A merge needs a winner and one or more other records.")
        for record_id in (winner, *losers):
            self.living(record_id)
        moment = now_text()
        for loser in losers:
            self._change(self._entity.table, '"IsDeleted" = 1, "MasterRecordId" = ?', '"Id" = ?', moment, winner, loser)
        own_parent = ""
        for table, column in _CHILDREN.get(self._entity.name, ()):
            for loser in losers:
                children = f'"{column}" = ? AND "IsDeleted" = 0 AND "Id" <> ?'
                self._change(table, f'"{column}" = ?', children, moment, winner, loser, winner)
            if table == self._entity.table:  # a winner that was a loser's child would become its own parent
                marks = ", ".join("?" * len(losers))
                own_parent = f'"{column}" = CASE WHEN "{column}" NOT IN ({marks}) THEN "{column}" END'
        self._change(self._entity.table, own_parent, '"Id" = ?', moment, *(losers if own_parent else ()), winner)

    def undelete(self, record_id: str) -> None:
        """Take a record out of the bin, and what was deleted together with it. What a merge took from it stays away.

        Raises:
            RowError: UNDELETE_FAILED, when it is not in the bin.
        """
        if not self._deleted(record_id):
            raise RowError("UNDELETE_FAILED", "Entity is not in the recycle bin")
        moment, then = now_text(), self._modified(record_id)
        for table, column in _DEPENDENTS.get(self._entity.name, ()):
            together = f'"{column}" = ? AND "SystemModstamp" = ?'
            self._change(table, '"IsDeleted" = 0', together, moment, record_id, then)
        self._change(self._entity.table, '"IsDeleted" = 0, "MasterRecordId" = NULL', '"Id" = ?', moment, record_id)

    def purge(self, record_id: str) -> None:
        """Remove a record for good, and its dependents; a living one as well, as a hard delete does.

        Raises:
            RowError: INVALID_CROSS_REFERENCE_KEY.
        """
        deleted = self._deleted(record_id)
        if deleted is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        deleted_at = self._modified(record_id) if deleted else now_text()
        for table, column in _DEPENDENTS.get(self._entity.name, ()):
            self._execute(f'DELETE FROM "{table}" WHERE org = ? AND "{column}" = ?', self._org, record_id)
            self._remember(table.capitalize(), deleted_at)
        self._execute(f'DELETE FROM {self._table} WHERE org = ? AND "Id" = ?', self._org, record_id)
        self._remember(self._entity.name, deleted_at)

    def _deleted(self, record_id: str) -> bool | None:
        """Whether a record is in the bin; None where there is no record."""
        column = '"IsDeleted"' if "isdeleted" in self._entity.fields else "0"
        sql = f'SELECT {column} FROM {self._table} WHERE org = ? AND "Id" = ?'
        found = self._api.state.row(sql, self._org, record_id)
        return None if found is None else bool(found[0])

    def _modified(self, record_id: str) -> str:
        sql = f'SELECT "SystemModstamp" FROM {self._table} WHERE org = ? AND "Id" = ?'
        found = self._api.state.row(sql, self._org, record_id)
        return str(found[0]) if found else ""

    def _change(self, table: str, change: str, where: str, moment: str, *values: str) -> None:
        """Change records and move their stamps. `values` are bound to the marks of `change`, then of `where`."""
        assignments = ", ".join(filter(None, (change, '"LastModifiedDate" = ?', '"SystemModstamp" = ?')))
        marks = change.count("?")
        given = (*values[:marks], moment, moment, self._org, *values[marks:])
        self._execute(f'UPDATE "{table}" SET {assignments} WHERE org = ? AND {where}', *given)

    def _remember(self, object_name: str, deleted_at: str) -> None:
        self._execute(
            "INSERT INTO salesforce_purge VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET deleted_at = max(deleted_at, excluded.deleted_at)",
            self._org,
            object_name,
            deleted_at,
        )

    def _execute(self, sql: str, *parameters: str) -> None:
        self._api.state.db.execute(sql, parameters)
