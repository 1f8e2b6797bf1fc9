"""Rules: read from a file or a request, with what is wrong in one sentence; and whether one strikes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml

from sync_pipeline.sandbox.salesforce.faults.visits import Visit
from sync_pipeline.sandbox.salesforce.faults.vocabulary import ACTIONS, COMMON, Action


class WrongRule(ValueError):
    """A rule that makes no sense; the message is one sentence and names it."""


@dataclass
class Rule:
    """One rule with what is left of it.

    Args:
        given: as it was written.
        action: what it does.
        settings: the action's own keys.
        dice: decides whether it strikes where `chance` is below 1.
        left: how often it strikes yet.
        left_of: the same for each record that it refuses to save.
    """

    given: dict[str, Any]
    action: str
    settings: dict[str, Any]
    path: re.Pattern[str] = re.compile("")
    method: str | None = None
    org: str | None = None
    after: int = 0
    left: float = 1
    chance: float = 1
    dice: Random = field(default_factory=Random)
    left_of: dict[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> Action:
        """What its action is like."""
        return ACTIONS[self.action]

    @property
    def used_up(self) -> bool:
        """Whether it will never strike again."""
        return not any(self.left_of.values()) if self.left_of else self.left <= 0

    def fits(self, visit: Visit) -> bool:
        """Whether the call is one of those that the rule is about."""
        return (
            self.method in {None, visit.method}
            and self.org in {None, visit.org}
            and self.path.search(visit.target) is not None
        )

    def can_strike(self, visit: Visit) -> bool:
        """Whether the action could do anything to the call."""
        if re.search(self.kind.where, visit.target) is None:
            return False
        return visit.at_once > int(self.settings.get("limit", 0))

    def lets_pass(self) -> bool:
        """Whether the rule still lets calls pass; counts one."""
        if self.after > 0:
            self.after -= 1
            return True
        return False

    def drawn(self) -> bool:
        """Whether the dice say yes."""
        return self.chance >= 1 or self.dice.random() < self.chance


def read_rules(given: Any, *, first: int = 1, seed: int = 1, orgs: Collection[str] = ()) -> list[Rule]:
    """Rules from what JSON or YAML holds: a list of them, or one.

    Args:
        given: the rules.
        first: number of the first among all there ever were; it seeds the dice, and errors name it.
        seed: the world's seed.
        orgs: organizations that a rule may name; any, where none is given.

    Raises:
        WrongRule: for the first that makes no sense.
    """
    rules = given if isinstance(given, list) else [given]
    read = [_read(rule, number, seed) for number, rule in enumerate(rules, first)]
    for number, rule in enumerate(read, first):
        if orgs and rule.org is not None and rule.org not in orgs:
            raise WrongRule(f"rule {number} ({rule.action}): org is one of {', '.join(orgs)}.")
    return read


def read_file(path: Path, *, seed: int = 1, orgs: Collection[str] = ()) -> list[Rule]:
    """Rules from a YAML or JSON file, which holds a list of them; the arguments are those of `read_rules`.

    Raises:
        WrongRule: it can't be read, or a rule in it makes no sense.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # YAML takes nearly all of JSON, but no tabs.
        given = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise WrongRule(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise WrongRule(f"{path} is no text in UTF-8.") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise WrongRule(f"{path} is neither YAML nor JSON: {reason}.") from None
    if given is None:
        return []
    if not isinstance(given, list):
        raise WrongRule(f"{path} must hold a list of rules.")
    try:
        return read_rules(given, seed=seed, orgs=orgs)
    except WrongRule as error:
        raise WrongRule(f"{path}: {error}") from None


def _read(given: Any, number: int, seed: int) -> Rule:
    name = f"rule {number}"
    if not isinstance(given, dict):
        raise WrongRule(f"{name} is no object with an action.")
    action = given.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        raise WrongRule(f"{name}: action is one of {', '.join(ACTIONS)}.")
    name = f"{name} ({action})"
    kind = ACTIONS[action]
    readers = {**COMMON, **kind.keys}
    for key in kind.needed:
        if key not in given:
            raise WrongRule(f"{name} needs {key}.")
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key == "action":
            continue
        if key not in readers:
            raise WrongRule(f"{name}: {key} is unknown; it takes {', '.join(readers)}.")
        try:
            values[key] = readers[key](value)
        except ValueError as error:
            raise WrongRule(f"{name}: {key} {error}.") from None
    common = {key: values[key] for key in ("path", "method", "org", "after", "chance") if key in values}
    times = values.get("times", 1) or math.inf
    settings = {key: value for key, value in values.items() if key in kind.keys}
    return Rule(
        given=given,
        action=action,
        settings=settings,
        left=times,
        left_of=dict.fromkeys(settings.get("ids", ()), times),
        dice=Random(f"{seed}/{number}"),
        **common,
    )
