"""A parsed SOQL query -> SQL over the state, with every value bound.

What matters of Salesforce's semantics: conditions know true and false only (`Industry != 'Retail'` finds accounts
without an industry), an empty text is null, texts compare without regard to case, ids in their 18-character form, and
nulls sort first.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from sync_pipeline.sandbox.salesforce.errors import ApiError
from sync_pipeline.sandbox.salesforce.objects import TEXT_TYPES, Catalog, SObject
from sync_pipeline.sandbox.salesforce.soql_syntax import parse
from sync_pipeline.sandbox.salesforce.soql_tree import (
    Comparison,
    Condition,
    Junction,
    Not,
    Path,
    Query,
    malformed,
    marked,
)
from sync_pipeline.sandbox.salesforce.soql_values import Column, Values, comparable

LARGEST_OFFSET = 2000
_MOST_ROWS = 2**62
_COLUMN_HELP = (
    "If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)


@dataclass(frozen=True, slots=True)
class Parent:
    """A joined object: alias in the SQL, and the object."""

    alias: str
    entity: SObject


@dataclass(frozen=True, slots=True)
class Compiled:
    """A query ready to run: `SELECT <what> {source}` with `parameters`. `columns` is empty for COUNT()."""

    entity: SObject
    columns: tuple[Column, ...]
    parents: dict[tuple[str, ...], Parent]
    source: str
    parameters: tuple[Any, ...]

    @property
    def is_count(self) -> bool:
        """Whether the query is SELECT COUNT()."""
        return not self.columns

    @property
    def count_sql(self) -> str:
        """SQL of the number of rows."""
        return f"SELECT count(*) FROM (SELECT 1 {self.source})"


def compile_query(text: str, catalog: Catalog, org: str, *, deleted_too: bool = False) -> Compiled:
    """Compile one query for one organization.

    Args:
        text: SOQL.
        catalog: objects and fields that the user sees.
        org: short name of the organization, bound into the SQL.
        deleted_too: as queryAll does.

    Raises:
        ApiError: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD, INVALID_QUERY_FILTER_OPERATOR,
            NUMBER_OUTSIDE_VALID_RANGE, QUERY_TOO_COMPLICATED.
    """
    query = parse(text)
    entity = catalog.get(query.entity)
    if entity is None:
        message = (
            f"sObject type '{query.entity}' is not supported. If you are attempting to use a custom object, be sure "
            "to append the '__c' after the entity name. Please reference your WSDL or the describe call for the "
            "appropriate names."
        )
        raise ApiError("INVALID_TYPE", marked(text, query.entity_at, message))
    if query.offset > LARGEST_OFFSET:
        raise ApiError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {LARGEST_OFFSET}")
    return _Compiler(query, catalog, entity).compiled(org, deleted_too)


def install_functions(connection: sqlite3.Connection) -> None:
    """Add what the SQL of `compile_query` calls: `sf_fold`, which makes texts comparable without regard to case."""
    connection.create_function("sf_fold", 1, _fold, deterministic=True)


def _fold(text: Any) -> Any:
    return text.casefold() if isinstance(text, str) else text


@dataclass
class _Compiler:
    query: Query
    catalog: Catalog
    entity: SObject
    parents: dict[tuple[str, ...], Parent] = field(default_factory=dict)
    joins: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._values = Values(self.query.text)

    def compiled(self, org: str, deleted_too: bool) -> Compiled:
        self.parents[()] = Parent("t0", self.entity)
        columns = self._columns()
        conditions = ["t0.org = ?"]
        self.parameters.append(org)
        if "isdeleted" in self.entity.fields and not deleted_too:
            conditions.append('t0."IsDeleted" = 0')
        if self.query.where:
            conditions.append(self._condition(self.query.where))
        order = [self._order(o.path, o.descending, o.nulls_last) for o in self.query.order]
        order.append(self.entity.fields["id"].expression("t0"))  # makes pages repeatable
        limit = _MOST_ROWS if self.query.limit is None else min(self.query.limit, _MOST_ROWS)
        source = (
            f'FROM "{self.entity.table}" AS t0 {" ".join(self.joins)} WHERE {" AND ".join(conditions)} '
            f"ORDER BY {', '.join(order)} LIMIT {limit} OFFSET {self.query.offset}"
        )
        return Compiled(self.entity, columns, self.parents, source, tuple(self.parameters))

    def _columns(self) -> tuple[Column, ...]:
        columns: dict[tuple[str, ...], Column] = {}
        for path in self.query.fields:
            column = self._resolve(path)
            if column.path in columns:
                raise ApiError("MALFORMED_QUERY", f"duplicate field selected: {'.'.join(column.path)}")
            columns[column.path] = column
        return tuple(columns.values())

    # -- names ------------------------------------------------------------------------------------------------

    def _resolve(self, path: Path) -> Column:
        """The field a path means, joining the parents it goes through."""
        parts = path.parts
        own = {self.entity.name.lower(), (self.query.alias or self.entity.name).lower()}
        if len(parts) > 1 and parts[0].lower() in own and parts[0].lower() not in self.entity.relationships:
            parts = parts[1:]
        names: tuple[str, ...] = ()
        for part in parts[:-1]:
            names = self._join(names, part, path)
        parent = self.parents[names]
        found = parent.entity.fields.get(parts[-1].lower())
        if found is None:
            raise self._invalid(path, f"No such column '{parts[-1]}' on entity '{parent.entity.name}'. {_COLUMN_HELP}")
        return Column((*names, found.name), found, parent.alias)

    def _join(self, names: tuple[str, ...], part: str, path: Path) -> tuple[str, ...]:
        here = self.parents[names]
        reference = here.entity.relationships.get(part.lower())
        target = self.catalog.get(reference.parent or "") if reference else None
        if reference is None or target is None:
            raise self._invalid(
                path,
                f"Didn't understand relationship '{part}' in field path. If you are attempting to use a custom "
                "relationship, be sure to append the '__r' after the custom relationship name. Please reference your "
                "WSDL or the describe call for the appropriate names.",
            )
        longer = (*names, str(reference.relationship))
        if longer not in self.parents:
            alias = f"t{len(self.parents)}"
            self.parents[longer] = Parent(alias, target)
            self.joins.append(
                f'LEFT JOIN "{target.table}" AS {alias} ON {alias}.org = t0.org '
                f'AND {alias}."Id" = {reference.expression(here.alias)}'
            )
        return longer

    def _invalid(self, path: Path, message: str) -> ApiError:
        return ApiError("INVALID_FIELD", marked(self.query.text, path.at, message))

    # -- order and conditions ---------------------------------------------------------------------------------

    def _order(self, path: Path, descending: bool, nulls_last: bool) -> str:
        column = self._resolve(path)
        if not column.field.filterable:
            raise self._invalid(path, f"field '{column.field.name}' can not be sorted in a query call")
        return f"{comparable(column)} {'DESC' if descending else 'ASC'} NULLS {'LAST' if nulls_last else 'FIRST'}"

    def _condition(self, condition: Condition) -> str:
        if isinstance(condition, Not):
            return f"NOT ({self._condition(condition.condition)})"
        if isinstance(condition, Junction):
            return _balanced([self._condition(c) for c in condition.conditions], condition.word)
        return self._comparison(condition)

    def _comparison(self, comparison: Comparison) -> str:
        column = self._resolve(comparison.path)
        if not column.field.filterable:
            raise self._invalid(comparison.path, f"field '{column.field.name}' can not be filtered in a query call")
        self._check_operator(comparison, column)
        if comparison.operator in {"IN", "NOT IN"}:
            return self._membership(comparison, column)
        literal = comparison.literals[0]
        if comparison.operator == "LIKE":
            self.parameters.append(self._values.pattern(literal))
            return f"coalesce({comparable(column)} LIKE ? ESCAPE '\\', 0)"
        if literal.kind == "period":
            return self._in_period(comparison, column)
        value = self._values.value(literal, column)
        if value is None and comparison.operator not in {"=", "!="}:
            raise malformed(self.query.text, literal.at, f"unexpected token: '{literal.text}'")
        self.parameters.append(value)
        if comparison.operator in {"=", "!="}:
            return f"{comparable(column)} {'IS' if comparison.operator == '=' else 'IS NOT'} ?"
        return _ordered(column, comparison.operator)

    def _in_period(self, comparison: Comparison, column: Column) -> str:
        """Comparing with a date literal: with the period it stands for, its beginning or its end."""
        first, after = self._values.period(comparison.literals[0], column)
        if comparison.operator in {"=", "!="}:
            self.parameters += [first, after]
            inside = f"({_ordered(column, '>=')} AND {_ordered(column, '<')})"
            return inside if comparison.operator == "=" else f"NOT {inside}"
        bound = {"<": ("<", first), "<=": ("<", after), ">": (">=", after), ">=": (">=", first)}
        operator, moment = bound[comparison.operator]
        self.parameters.append(moment)
        return _ordered(column, operator)

    def _check_operator(self, comparison: Comparison, column: Column) -> None:
        kind = column.field.type
        ordered = comparison.operator in {"<", "<=", ">", ">="}
        if (comparison.operator == "LIKE" and kind not in TEXT_TYPES) or (ordered and kind in {"boolean", "reference"}):
            message = f"invalid operator on {kind} field"
            raise ApiError("INVALID_QUERY_FILTER_OPERATOR", marked(self.query.text, comparison.path.at, message))

    def _membership(self, comparison: Comparison, column: Column) -> str:
        values = [self._values.value(literal, column) for literal in comparison.literals]
        self.parameters.append(json.dumps([v for v in values if v is not None]))
        found = f"coalesce({comparable(column)} IN (SELECT value FROM json_each(?)), 0)"
        if None in values:
            found = f"({found} OR {comparable(column)} IS NULL)"
        return found if comparison.operator == "IN" else f"NOT {found}"


def _ordered(column: Column, operator: str) -> str:
    """SQL of <, <=, > or >= with a bound value; false for null.

    What changed since a moment is few among many, and the planner, which can't know that, is told: it then takes the
    index on `SystemModstamp`. Records up to a moment are most of them, so that must not lead it there.
    """
    sql = comparable(column)
    if column.alias == "t0" and column.field.name == "SystemModstamp":
        return f"likelihood({sql} {operator} ?, 0.0001)" if operator in {">", ">="} else f"+{sql} {operator} ?"
    return f"coalesce({sql} {operator} ?, 0)"


def _balanced(parts: list[str], word: str) -> str:
    """`a AND b AND ...` as a balanced tree: SQLite refuses expressions deeper than 1,000."""
    if len(parts) == 1:
        return f"({parts[0]})"
    half = len(parts) // 2
    return f"({_balanced(parts[:half], word)} {word} {_balanced(parts[half:], word)})"
