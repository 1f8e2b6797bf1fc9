"""The rules in force, and which of them strike a call or a save."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sync_pipeline.sandbox.salesforce.errors import RowError
from sync_pipeline.sandbox.salesforce.faults.rules import Rule, read_rules
from sync_pipeline.sandbox.salesforce.faults.visits import Visit, current

_REFUSED = ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "This account is closed for changes.")
_LOCKED = ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")


class Faults:
    """The rules in force.

    Args:
        seed: the world's, for rules that leave it to chance.
        orgs: organizations that a rule may name.
    """

    def __init__(self, seed: int, orgs: Collection[str]) -> None:
        self._seed = seed
        self._orgs = orgs
        self._rules: list[Rule] = []
        self._count = 0

    def add(self, rules: list[Rule]) -> None:
        """Put rules in force, after those already there."""
        self._rules.extend(rules)
        self._count += len(rules)

    def add_given(self, given: Any) -> None:
        """Read rules and put them in force; WrongRule for the first that makes no sense, and then none is."""
        self.add(read_rules(given, first=self._count + 1, seed=self._seed, orgs=self._orgs))

    def clear(self) -> None:
        """Forget every rule; the next is number 1 again."""
        self._rules.clear()
        self._count = 0

    def listed(self) -> list[dict[str, Any]]:
        """The rules as they were given, less those used up."""
        return [rule.given for rule in self._rules if not rule.used_up]

    def striking(self, visit: Visit) -> list[Rule]:
        """The rules that strike this call, the one nearest to Salesforce first; counts it for all that it fits."""
        answering: list[Rule] = []
        on_the_line: list[Rule] = []
        for rule in self._rules:
            if rule.kind.on_saves or rule.used_up or not rule.fits(visit) or rule.lets_pass():
                continue
            chosen = on_the_line if rule.kind.on_the_line else answering
            if chosen is answering and answering:
                continue
            if rule.can_strike(visit) and rule.drawn():
                rule.left -= 1
                chosen.append(rule)
        struck = [*answering, *on_the_line]
        visit.struck.extend(rule.action for rule in struck)
        return struck

    def refuse(self, record_id: str) -> None:
        """Raise the RowError that a rule has for saving this record, if any; counts it."""
        visit = current.get()
        for rule in self._rules:
            if not rule.kind.on_saves or rule.used_up or (visit and not rule.fits(visit)):
                continue
            if rule.left_of and not rule.left_of.get(record_id):
                continue
            if rule.lets_pass() or not rule.drawn():
                continue
            if rule.left_of:
                rule.left_of[record_id] -= 1
            else:
                rule.left -= 1
            if visit:
                visit.struck.append(rule.action)
            raise _refusal(rule)


def _refusal(rule: Rule) -> RowError:
    code, message = _LOCKED if rule.action == "lock" else _REFUSED
    told = rule.settings
    return RowError(told.get("code", code), told.get("message", message), told.get("fields", ()))
