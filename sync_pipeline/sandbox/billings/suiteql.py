"""The part of SuiteQL that lists records: one SELECT from one table, read word by word and put into SQLite's words.

SELECT *, columns, COUNT(*), TO_CHAR(date, 'format'); WHERE of comparisons and IS NULL joined by AND; ORDER BY. What is
not known is refused, never passed over: a client whose filter did nothing would seem to work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

_T = TypeVar("_T")

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\d+(?:\.\d+)?)|([A-Za-z_]\w*)|(<=|>=|<>|!=|[-<>=(),.*]))")
_FORMATS = {"YYYY": "%Y", "MM": "%m", "DD": "%d", "HH24": "%H", "MI": "%M", "SS": "%S"}
_OPERATORS = ("=", "<>", "!=", "<", "<=", ">", ">=")
_AFTER_SELECT = frozenset({"FROM", "WHERE", "ORDER", "AND", "ASC", "DESC", "IS", "NOT", "NULL", "BY", "AS"})


class UnknownQuery(Exception):
    """The query is none, or none that is known here."""


@dataclass(frozen=True)
class Table:
    """A table that may be asked.

    Args:
        columns: column to the SQLite expression it is compared and sorted by.
        dates: those of them that are seconds since 1970.
    """

    columns: Mapping[str, str]
    dates: frozenset[str] = frozenset()


@dataclass
class Query:
    """What was asked.

    Args:
        table: its name.
        whole: whether all columns are selected.
        count: name for COUNT(*), where that is selected.
        selected: name in the answer to column and, for TO_CHAR, its format in Python's words.
        where, values: conditions in SQLite's words.
        order: the same for the order.
    """

    table: str = ""
    whole: bool = False
    count: str | None = None
    selected: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)
    order: list[str] = field(default_factory=list)


def parse(text: str, tables: Mapping[str, Table], zone: ZoneInfo) -> Query:
    """The query that `text` is; dates in it are those of `zone`. Raises UnknownQuery."""
    return _Parser(text, tables, zone).query()


class _Parser:
    def __init__(self, text: str, tables: Mapping[str, Table], zone: ZoneInfo) -> None:
        self._tokens, at = [], 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if not found:
                raise UnknownQuery(f"unexpected character at {at}")
            self._tokens.append(found[0].strip())
            at = found.end()
        self._at, self._tables, self._zone = 0, tables, zone
        self._names: set[str] = set()
        self._table = Table({})

    def query(self) -> Query:
        made = Query()
        self._need("SELECT")
        items = self._list(self._item)
        self._need("FROM")
        made.table = self._name().lower()
        if made.table not in self._tables:
            raise UnknownQuery(f"Record '{made.table}' was not found")
        self._table = self._tables[made.table]
        self._names = {made.table}
        if self._at < len(self._tokens) and self._tokens[self._at].upper() not in _AFTER_SELECT:
            self._names = {self._name().lower()}
        for item in items:
            item(made)
        if sum((made.whole or bool(made.selected), made.count is not None)) != 1:
            raise UnknownQuery("COUNT(*) beside columns needs GROUP BY")
        if self._take("WHERE"):
            self._condition(made)
            while self._take("AND"):
                self._condition(made)
        if self._take("ORDER"):
            self._need("BY")
            made.order = self._list(self._sorted)
        if self._at < len(self._tokens):
            raise UnknownQuery(f"unexpected {self._tokens[self._at]}")
        return made

    def _item(self) -> Callable[[Query], None]:
        """One selected thing; whose it is, is known when FROM has been read."""
        if self._take("*"):
            return lambda query: setattr(query, "whole", True)
        if self._ahead("COUNT", "("):
            for token in ("COUNT", "(", "*", ")"):
                self._need(token)
            name = self._alias() or "expr1"
            return lambda query: setattr(query, "count", name)
        fmt = None
        if self._ahead("TO_CHAR", "("):
            self._at += 2
            column = self._column()
            self._need(",")
            fmt = _format(self._string())
            self._need(")")
        else:
            column = self._column(star=True)
        alias = self._alias()

        def select(query: Query) -> None:
            if column.endswith("*"):
                self._own(column, star=True)
                query.whole = True
                return
            own = self._own(column)
            if fmt and own not in self._table.dates:
                raise UnknownQuery(f"{own} is no date")
            query.selected[alias or (own if not fmt else f"expr{len(query.selected) + 1}")] = (own, fmt)

        return select

    def _condition(self, query: Query) -> None:
        own = self._own(self._column())
        expression = self._table.columns[own]
        if self._take("IS"):
            negated = "NOT " if self._take("NOT") else ""
            self._need("NULL")
            query.where.append(f"{expression} IS {negated}NULL")
            return
        operator = self._next()
        if operator not in _OPERATORS:
            raise UnknownQuery(f"unexpected {operator}")
        query.where.append(f"{expression} {operator} ?")
        query.values.append(self._value(is_date=own in self._table.dates))

    def _value(self, *, is_date: bool) -> object:
        if self._ahead("TO_DATE", "("):
            self._at += 2
            text = self._string()
            self._need(",")
            fmt = _format(self._string())
            self._need(")")
            try:
                moment = datetime.strptime(text, fmt).replace(tzinfo=self._zone).timestamp()
            except ValueError:
                raise UnknownQuery(f"'{text}' is no date of its format") from None
            if is_date:
                return moment
        elif not is_date:  # a date written in the account's own format is a thing this stand-in does not take
            sign = "-" if self._take("-") else ""
            token = self._next()
            if token[0].isdigit():
                return float(sign + token) if "." in token else int(sign + token)
            if token.startswith("'") and not sign:
                return token[1:-1].replace("''", "'")
        raise UnknownQuery("a comparison of two kinds of things")

    def _sorted(self) -> str:
        expression = self._table.columns[self._own(self._column())]
        return f"{expression} DESC" if self._take("DESC") else f"{expression} ASC" if self._take("ASC") else expression

    def _column(self, *, star: bool = False) -> str:
        name = self._name().lower()
        if self._take("."):
            name += "." + ("*" if star and self._take("*") else self._name().lower())
        return name

    def _own(self, name: str, *, star: bool = False) -> str:
        owner, dot, column = name.rpartition(".")
        if (dot and owner not in self._names) or (not star and column not in self._table.columns):
            raise UnknownQuery(f"Field '{column}' for record was not found")
        return column

    def _alias(self) -> str | None:
        return self._name().lower() if self._take("AS") else None

    def _list(self, part: Callable[[], _T]) -> list[_T]:
        parts = [part()]
        while self._take(","):
            parts.append(part())
        return parts

    def _string(self) -> str:
        token = self._next()
        if not token.startswith("'"):
            raise UnknownQuery(f"unexpected {token}")
        return token[1:-1].replace("''", "'")

    def _name(self) -> str:
        token = self._next()
        if not re.fullmatch(r"[A-Za-z_]\w*", token) or token.upper() in _AFTER_SELECT:
            raise UnknownQuery(f"unexpected {token}")
        return token

    def _next(self) -> str:
        if self._at == len(self._tokens):
            raise UnknownQuery("unexpected end")
        self._at += 1
        return self._tokens[self._at - 1]

    def _ahead(self, *tokens: str) -> bool:
        return [token.upper() for token in self._tokens[self._at : self._at + len(tokens)]] == list(tokens)

    def _take(self, token: str) -> bool:
        taken = self._ahead(token)
        self._at += taken
        return taken

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise UnknownQuery(f"{token} is missing")


def shown(seconds: int, zone: ZoneInfo, fmt: str) -> str:
    """A moment as a clock in `zone` shows it."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).strftime(fmt)


def _format(oracle: str) -> str:
    """A date format of Oracle's in Python's words."""
    made = re.sub("|".join(_FORMATS), lambda found: _FORMATS[found[0]], oracle)
    if re.search(r"(?<!%)[A-Za-z]|%(?![YmdHMS])", made):
        raise UnknownQuery(f"'{oracle}' is no format known here")
    return made
