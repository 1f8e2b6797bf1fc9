"""How two identifiers are compared: the rules that make a match, and those that only show a near miss."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from sync_pipeline.matching.macros import RULES, key_sql
from sync_pipeline.orgs.models import Rule


@dataclass(frozen=True)
class Comparison:
    """How two identifiers are compared.

    Args:
        rules: the rules that are on. Of these, only `trim` makes a match where identifiers are Salesforce ids.
        salesforce_ids: the 15- and 18-character forms of a Salesforce id are one identity.
        by_account_id: the identifier is the Account Id itself, so merged accounts lead to their survivors.
    """

    rules: frozenset[Rule]
    salesforce_ids: bool
    by_account_id: bool = False

    @property
    def on(self) -> tuple[Rule, ...]:
        """Rules that make a match."""
        allowed = ("trim",) if self.salesforce_ids else RULES
        return tuple(rule for rule in RULES if rule in self.rules and rule in allowed)

    @property
    def tries(self) -> list[tuple[Rule, ...]]:
        """Sets of rules that are off, in the order in which they are tried for a near miss: the fewest first.

        Where every rule is on, the only try is the comparison itself, which finds nothing that was not found before.
        """
        off = [rule for rule in RULES if rule not in self.on]
        return [chosen for size in range(1, len(off) + 1) for chosen in combinations(off, size)] or [()]

    @property
    def to_the_letter(self) -> bool:
        """Whether a key is the identifier itself."""
        return not self.on and not self.salesforce_ids

    def key(self, column: str, more: tuple[Rule, ...] = ()) -> str:
        """SQL of the key of `column` under the rules that are on and `more`."""
        return key_sql(column, (*self.on, *more), salesforce_ids=self.salesforce_ids)

    def coarse_key(self, column: str) -> str:
        """SQL of the key of `column` as if every rule were on: equal under any rules means equal here."""
        return self.key(column, RULES)


@dataclass(frozen=True)
class Step:
    """One step of the matching: `CREATE TEMP kind name AS sql`."""

    name: str
    kind: Literal["VIEW", "TABLE"]
    sql: str
