"""Rules of faults as people write them: what is wrong with one, in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync_pipeline.sandbox.salesforce.faults import WrongRule, read_file, read_rules
from sync_pipeline.sandbox.salesforce.faults.striking import DOING
from sync_pipeline.sandbox.salesforce.faults.vocabulary import ACTIONS
from sync_pipeline_tests.sandbox.salesforce.conftest import Served

RULES = [
    {"action": "cut", "path": "/results", "bytes": 50, "after": 2},
    {"action": "status", "status": 420, "method": "post", "org": "stripe", "times": 0, "chance": 0.25},
]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("cut", "rule 1 is no object with an action."),
        ({}, "rule 1: action is one of status, html, "),
        ({"action": []}, "rule 1: action is one of status, html, "),
        ({"action": "explode"}, "rule 1: action is one of status, html, "),
        ({"action": "cut", "colour": 1}, "rule 1 (cut): colour is unknown; it takes path, method, org, after, times, "),
        ({"action": "cut", "path": "("}, "rule 1 (cut): path is no regular expression: "),
        ({"action": "cut", "path": None}, "rule 1 (cut): path is a text."),
        ({"action": "cut", "bytes": -1}, "rule 1 (cut): bytes is a whole number, 0 or more."),
        ({"action": "cut", "bytes": True}, "rule 1 (cut): bytes is a whole number, 0 or more."),
        ({"action": "cut", "after": 1.5}, "rule 1 (cut): after is a whole number, 0 or more."),
        ({"action": "cut", "chance": 2}, "rule 1 (cut): chance is a share from 0 to 1."),
        ({"action": "cut", "method": "GET /"}, "rule 1 (cut): method is one of GET, HEAD, POST, PUT, PATCH, DELETE."),
        ({"action": "slow"}, "rule 1 (slow) needs seconds."),
        ({"action": "slow", "seconds": "2"}, "rule 1 (slow): seconds is a number of seconds, 0 or more."),
        ({"action": "slow", "seconds": float("inf")}, "rule 1 (slow): seconds is a number of seconds, 0 or more."),
        ({"action": "bandwidth", "bytes_per_second": 0}, "rule 1 (bandwidth): bytes_per_second is a whole number, 1"),
        ({"action": "status", "status": 99}, "rule 1 (status): status is an HTTP status, 200 to 599."),
        ({"action": "status", "headers": []}, "rule 1 (status): headers is an object of header names and values."),
        ({"action": "status", "done": 1}, "rule 1 (status): done is true or false."),
        ({"action": "wrong_count", "by": 0}, "rule 1 (wrong_count): by is a whole number other than 0."),
        ({"action": "refuse", "ids": "001"}, "rule 1 (refuse): ids is a list of texts."),
        ({"action": "lock", "code": "X"}, "rule 1 (lock): code is unknown; "),
    ],
)
def test_rules_that_make_no_sense(rule: Any, said: str) -> None:
    with pytest.raises(WrongRule) as caught:
        read_rules(rule)
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith(".")


def test_a_wrong_rule_over_http_puts_none_in_force(served: Served) -> None:
    address = f"{served.url}/sandbox/faults"
    answer = served.http.post(address, json=[RULES[0], {"action": "slow"}])
    assert (answer.status_code, answer.json()) == (400, {"message": "rule 2 (slow) needs seconds."})
    assert served.http.get(address).json() == []
    assert served.http.post(address, data="{").status_code == 400
    elsewhere = served.http.post(address, json={"action": "cut", "org": "nobody"})
    assert elsewhere.json() == {"message": "rule 1 (cut): org is one of file, stripe."}
    assert served.http.post(address, json=RULES).json() == RULES
    assert served.http.post(address, json={"action": "nothing"}).json()["message"].startswith("rule 3: ")


@pytest.mark.parametrize(
    ("name", "text"), [("faults.yaml", yaml.safe_dump(RULES)), ("faults.json", json.dumps(RULES, indent="\t"))]
)
def test_a_file_of_rules(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    cut, status = read_file(file)
    assert (cut.action, cut.settings, cut.after, cut.left) == ("cut", {"bytes": 50}, 2, 1)
    assert (status.method, status.org, status.left, status.chance) == ("POST", "stripe", float("inf"), 0.25)
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert read_file(tmp_path / "empty.yaml") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: No such file or directory."),
        (b"action: cut\n", "must hold a list of rules."),
        (b"- action: [\n", "is neither YAML nor JSON: "),
        (b"\xff\xfe\x00", "is no text in UTF-8."),
        (b"- action: cut\n- action: slow\n", "rule 2 (slow) needs seconds."),
    ],
)
def test_files_that_make_no_sense(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "faults.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(WrongRule) as caught:
        read_file(file)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_the_dice_go_by_seed_and_number() -> None:
    def drawn(seed: int, number: int) -> list[bool]:
        (rule,) = read_rules({"action": "cut", "chance": 0.5}, first=number, seed=seed)
        return [rule.drawn() for _ in range(64)]

    assert drawn(1, 1) == drawn(1, 1)
    assert len({tuple(drawn(seed, number)) for seed in (1, 2) for number in (1, 2)}) == 4


def test_every_action_does_something() -> None:
    assert DOING.keys() == {name for name, action in ACTIONS.items() if not action.on_saves}
