"""SOQL text -> a small tree. What the grammar here does not know is MALFORMED_QUERY, never a guess.

query      = SELECT (COUNT() | path {, path}) FROM name [[AS] alias] [WHERE condition] [ORDER BY order {, order}]
             [LIMIT n] [OFFSET n]
condition  = term {AND term} | term {OR term}          mixing both needs parentheses, as in Salesforce
term       = NOT term | ( condition ) | path operator (literal | period) | path [NOT] IN ( literal {, literal} )
period     = TODAY | LAST_N_DAYS : n | ...             see `date_literals`
order      = path [ASC | DESC] [NULLS FIRST | NULLS LAST]
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sync_pipeline.sandbox.salesforce.date_literals import COUNTED, FIXED
from sync_pipeline.sandbox.salesforce.errors import ApiError
from sync_pipeline.sandbox.salesforce.soql_tree import (
    Comparison,
    Condition,
    Junction,
    Literal,
    Not,
    Order,
    Path,
    Query,
    malformed,
)

LONGEST = 100_000
"""Characters of a query, Salesforce's own limit."""

DEEPEST = 50
"""Parentheses and NOTs within each other; keeps the parser's recursion and SQLite's expression depth bounded."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
      | (?P<date>\d{4}-\d\d-\d\d)
      | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<string>'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*)
      | (?P<operator><=|>=|!=|<>|=|<|>)
      | (?P<mark>[(),:*])
      | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_LITERALS = frozenset({"datetime", "date", "number", "string"})
_CLAUSES = frozenset(
    {"SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "IN", "LIKE", "ORDER", "GROUP", "BY", "HAVING", "LIMIT", "OFFSET"}
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text; `kind` is a group of the pattern above, `at` its offset."""

    kind: str
    text: str
    at: int


def parse(text: str) -> Query:
    """Parse one query.

    Raises:
        ApiError: MALFORMED_QUERY, with the place; QUERY_TOO_COMPLICATED for nesting beyond reason.
    """
    if len(text) > LONGEST:
        raise ApiError("MALFORMED_QUERY", f"SOQL statements cannot be longer than {LONGEST} characters.")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ApiError("MALFORMED_QUERY", "The query holds half a character, which no encoding can carry.")
    return _Parser(text).query()


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(text, at)
        if found is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            what = (
                "line breaks not allowed in string literals" if text[at] == "'" else f"unexpected token: '{text[at]}'"
            )
            raise malformed(text, at, what)
        kind = str(found.lastgroup)
        tokens.append(Token(kind, found.group(kind), found.start(kind)))
        at = found.end()
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._position = 0
        self._depth = 0

    def query(self) -> Query:
        self._word("SELECT")
        fields = self._fields()
        self._word("FROM")
        entity = self._name()
        alias = self._alias()
        where = self._condition() if self._skip("WHERE") else None
        order = self._orders() if self._skip("ORDER") else ()
        limit = self._count() if self._skip("LIMIT") else None
        offset = self._count() if self._skip("OFFSET") else 0
        if self._is("ALL") and self._tokens[self._position + 1].text.upper() == "ROWS":
            raise malformed(self._text, self._now.at, "ALL ROWS not allowed in this context")  # Apex only; see queryAll
        if self._now.kind != "end":
            raise self._unexpected()
        return Query(self._text, fields, entity.text, entity.at, alias, where, order, limit, offset)

    @property
    def _now(self) -> Token:
        return self._tokens[self._position]

    def _next(self) -> Token:
        token = self._now
        if token.kind != "end":
            self._position += 1
        return token

    def _unexpected(self, token: Token | None = None) -> ApiError:
        token = token or self._now
        return malformed(self._text, token.at, f"unexpected token: '{token.text or '<EOF>'}'")

    def _is(self, word: str) -> bool:
        return self._now.kind in {"name", "operator", "mark"} and self._now.text.upper() == word

    def _skip(self, word: str) -> bool:
        if self._is(word):
            self._position += 1
            return True
        return False

    def _word(self, word: str) -> None:
        if not self._skip(word):
            raise self._unexpected()

    def _name(self) -> Token:
        if self._now.kind != "name" or self._now.text.upper() in _CLAUSES:
            raise self._unexpected()
        return self._next()

    def _path(self) -> Path:
        token = self._name()
        return Path(tuple(token.text.split(".")), token.at)

    def _fields(self) -> tuple[Path, ...]:
        if self._is("COUNT") and self._tokens[self._position + 1].text == "(":
            self._position += 2
            self._word(")")
            return ()
        fields = [self._path()]
        while self._skip(","):
            fields.append(self._path())
        return tuple(fields)

    def _alias(self) -> str | None:
        if self._skip("AS"):
            return self._name().text
        if self._now.kind == "name" and self._now.text.upper() not in _CLAUSES:
            following = self._tokens[self._position + 1]
            # USING SCOPE, WITH SECURITY_ENFORCED, FOR VIEW ... start with a word too; behind an alias comes a clause.
            if following.kind == "end" or following.text.upper() in _CLAUSES:
                return self._next().text
        return None

    def _condition(self) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ApiError(
                "QUERY_TOO_COMPLICATED",
                "Query is either selecting too many fields or the filter conditions are too complicated.",
            )
        conditions = [self._term()]
        word = self._now.text.upper() if self._is("AND") or self._is("OR") else ""
        while word and self._skip(word):
            conditions.append(self._term())
        self._depth -= 1
        if self._is("AND") or self._is("OR"):
            raise self._unexpected()
        return conditions[0] if len(conditions) == 1 else Junction(word, tuple(conditions))

    def _term(self) -> Condition:
        negated = False
        while self._skip("NOT"):
            negated = not negated
        if self._skip("("):
            inner = self._condition()
            self._word(")")
        else:
            inner = self._comparison()
        return Not(inner) if negated else inner

    def _comparison(self) -> Comparison:
        path = self._path()
        if self._skip("NOT"):
            self._word("IN")
            return Comparison(path, "NOT IN", self._list())
        if self._skip("IN"):
            return Comparison(path, "IN", self._list())
        if self._skip("LIKE"):
            return Comparison(path, "LIKE", (self._literal(),))
        if self._now.kind != "operator":
            raise self._unexpected()
        operator = self._next().text.replace("<>", "!=")
        return Comparison(path, operator, (self._period() or self._literal(),))

    def _period(self) -> Literal | None:
        token, name = self._now, self._now.text.upper()
        if token.kind != "name" or name not in FIXED | COUNTED:
            return None
        self._position += 1
        if name in FIXED:
            return Literal("period", name, token.at)
        self._word(":")
        if self._now.text.strip("0") == "":
            raise self._unexpected()
        return Literal("period", f"{name}:{self._count()}", token.at)

    def _list(self) -> tuple[Literal, ...]:
        self._word("(")
        literals = [self._literal()]
        while self._skip(","):
            literals.append(self._literal())
        self._word(")")
        return tuple(literals)

    def _literal(self) -> Literal:
        token = self._now
        lower = token.text.lower()
        if token.kind in _LITERALS:
            kind = token.kind
        elif token.kind == "name" and lower in {"true", "false"}:
            kind = "boolean"
        elif token.kind == "name" and lower == "null":
            kind = "null"
        else:
            raise self._unexpected()
        self._position += 1
        return Literal(kind, token.text, token.at)

    def _orders(self) -> tuple[Order, ...]:
        self._word("BY")
        orders = [self._order()]
        while self._skip(","):
            orders.append(self._order())
        return tuple(orders)

    def _order(self) -> Order:
        path = self._path()
        descending = self._skip("DESC")
        if not descending:
            self._skip("ASC")
        nulls_last = False
        if self._skip("NULLS"):
            nulls_last = self._skip("LAST")
            if not nulls_last:
                self._word("FIRST")
        return Order(path, descending, nulls_last)

    def _count(self) -> int:
        if self._now.kind != "number" or not self._now.text.isdigit():
            raise self._unexpected()
        return int(self._next().text)
