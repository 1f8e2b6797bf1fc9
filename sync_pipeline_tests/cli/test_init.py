"""`sync-pipeline init`: whatever the billing system, the file that is written is one without a problem."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sync_pipeline.billing.systems import settings, sources
from sync_pipeline.cli import asking, init
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs import Organization, load_organizations, read_organization
from sync_pipeline.orgs.sections import alternatives, choices_of
from sync_pipeline.orgs.writing import written
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.orgs.factory import merged, write
from sync_pipeline_tests.paths import PROJECT

METHODS = ("client_credentials", "jwt", "browser")
SYSTEMS = [
    (system, model, way)
    for system, model in choices_of(Organization.model_fields["billing"]).items()
    for way in range(max(1, len(alternatives(model))))
]
TRIES = ("acme", "https://acme.example.com/{customer_id}", "SELECT * FROM customers", "12345", "2024-01-01")
"""What is answered to a question for a plain value, one after another, until it is taken."""


class Person:
    """Answers what is asked, by what stands on the screen; every other question by an empty line."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = {question: list(given) for question, given in answers.items()}
        self.screen = io.StringIO()
        self.asked: Counter[str] = Counter()

    def readline(self) -> str:
        lines = self.screen.getvalue().splitlines()
        question = lines[-1]
        key = next((line.partition(":")[0] for line in reversed(lines) if re.match(r"[a-z_.]+: ", line)), "")
        self.asked[key + question] += 1
        assert self.asked[key + question] < 20, (key, question)
        self.screen.write("\n")
        for start in (key, question.rpartition(":")[0]):
            if self.answers.get(start):
                return self.answers[start].pop(0) + "\n"
        if question.endswith("]: ") or "empty for none" in question:
            return "\n"
        if question == "Which: ":
            return "1\n"
        return TRIES[(self.asked[key + question] - 1) % len(TRIES)] + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", str(tmp_path / "config" / "orgs"))
    return tmp_path / "config" / "orgs"


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Person]:
    """Factory: a person with answers (by key, or by question), who has gone through `init`."""

    def go(*, dry_run: bool = False, **answers: list[str]) -> Person:
        person = Person({"name": ["acme"], **{key.replace("__", "."): given for key, given in answers.items()}})
        console = Console(file=person.screen, highlight=False, soft_wrap=True, width=400)
        monkeypatch.setattr(asking, "err", console)
        monkeypatch.setattr(init, "err", console)
        monkeypatch.setattr(sys, "stdin", person)
        assert init.init(dry_run=dry_run) == 0
        return person

    return go


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("system", "model", "way"), SYSTEMS, ids=[f"{system}-{way}" for system, _, way in SYSTEMS])
def test_every_system_s_file_loads(
    folder: Path, talk: Callable[..., Person], system: str, model: Any, way: int, method: str
) -> None:
    platform = "warehouse" if METHODS.index(method) % 2 else "upflow"
    answers: dict[str, list[str]] = {
        "Which method": [method],
        "salesforce__domain": ["acme.my.salesforce.com"],
        "Which system": [system],
        "Which platform": [platform],
        "identifier__billing_field": ["customer_number"],
        "import__account_fields": ["Industry=Industry, Segment__c = The segment: A"],
        "export__portal_link__salesforce_field": ["Portal_Link__c"],
    }
    if others := alternatives(model):
        answers["billing"] = [system, others[way]]
    talk(**answers)
    loaded = load_organizations(folder)
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    org = loaded.organizations["acme"]
    assert (org.billing.system, org.salesforce.login.method) == (system, method)
    assert org.receivables.platform == platform
    assert org.imports.account_fields == {"Industry": "Industry", "Segment__c": "The segment: A"}
    text = (folder / "acme.yaml").read_text(encoding="utf-8")
    for name, info in model.model_fields.items():  # nothing but what has to be said
        assert (
            info.is_required()
            or name in others
            or f"\n  {name}:" not in text.partition("\nbilling:")[2].partition("\n\n")[0]
        )
    assert f"  # {model.__doc__.splitlines()[0][:60]}" in text


def test_every_system_is_asked_for() -> None:
    assert {system for system, _, _ in SYSTEMS} == set(sources())
    assert len({system for system, _, _ in SYSTEMS}) == len(settings())


def test_an_answer_is_held_to_the_models_at_once(
    folder: Path, talk: Callable[..., Person], capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "name: taken\n", "taken.yaml")
    person = talk(
        dry_run=True,
        name=["Acme SA", "taken", "acme"],
        label=["yes"],
        salesforce__domain=["login.salesforce.com", "acme.my.salesforce.com"],
        billing__api_key=["sk_live_abcdefgh", "not a name", "STRIPE_KEY"],
        import__account_fields=["Industry", "A b=c", "Industry=Industry"],
        export__portal_link__salesforce_field=["Industry", "Link__c"],
        schedule__cron=["1 2 3", "30 6 * * *"],
        schedule__timezone=["Paris", "Europe/Paris"],
        **{"Which method": ["0", "1"], "Which system": ["stripe"], "Which platform": ["2"]},
    )
    said = person.screen.getvalue()
    for words in (
        "Is it acme_sa?",
        "There is an organization taken already",
        "refuses logins of servers",
        "the secret itself seems to stand after env",
        "after env stands the name of an environment variable",
        "Allowed: client_credentials, jwt, browser",
        "'A b' is no API name",
        "which is imported",
        "'1 2 3' is no schedule",
        "Is it Europe/Paris?",
    ):
        assert words in said
    text = capsys.readouterr().out
    assert "sk_live_abcdefgh" not in text + said
    data = yaml.safe_load(text)
    assert data["label"] == "yes"
    assert data["billing"] == {"system": "stripe", "api_key": {"env": "STRIPE_KEY"}}
    assert data["schedule"] == {"cron": "30 6 * * *", "timezone": "Europe/Paris"}
    assert [file.name for file in folder.iterdir()] == ["taken.yaml"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    folder: Path, talk: Callable[..., Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(file: Path, text: str) -> None:
        write(folder, "theirs", "acme.yaml")
        really(file, text)

    really = init._write
    monkeypatch.setattr(init, "_write", late)
    answers = {"Which method": ["1"], "Which system": ["stripe"], "Which platform": ["1"]}
    with pytest.raises(ConfigurationError, match="There is a file"):
        talk(salesforce__domain=["acme.my.salesforce.com"], **answers)
    assert (folder / "acme.yaml").read_text() == "theirs"


def test_a_file_whose_id_has_another_name(folder: Path, talk: Callable[..., Person]) -> None:
    folder.mkdir(parents=True)
    rows = "".join(f"{at},A{at:02}\n" for at in range(30))
    (folder / "customers.csv").write_text(f"number,crm\n{rows}", encoding="utf-8")
    person = talk(
        salesforce__domain=["acme.my.salesforce.com"],
        billing__path=["customers.csv"],
        billing__columns=["number", "customer=number", "customer_id=number"],
        **{
            "Which method": ["1"],
            "Which system": ["file"],
            "Which platform": ["1"],
            "Field, by number or name": ["1"],
        },
    )
    assert "Allowed: pairs" in person.screen.getvalue()
    org = load_organizations(folder).organizations["acme"]
    assert org.identifier.billing_field == "crm"
    assert getattr(org.billing, "columns", None) == {"customer_id": "number"}


@given(
    label=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1),
    field=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
)
def test_whatever_is_typed_is_what_the_file_says(label: str, field: str) -> None:
    data = merged(label=label, identifier__billing_field=field, imports__account_fields={"Industry": field})
    org, findings = read_organization(written(data), Path("acme.yaml"))
    assert org is not None, findings
    assert (org.label, org.identifier.billing_field) == (label, field)
    assert org.imports.account_fields == {"Industry": field}


def test_nobody_to_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("acme\n"))
    with pytest.raises(ConfigurationError, match="nothing was written"):
        init.init(dry_run=False)
    assert not folder.exists()


class Terminal:
    """A real `init` on a terminal of its own."""

    def __init__(self, place: Workplace, *arguments: str, **environment: str) -> None:
        self.end, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from sync_pipeline.cli import main; main()", "init", *arguments],
            cwd=PROJECT,
            env={**os.environ, "COLUMNS": "100", "TERM": "dumb", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is one
        )
        os.close(theirs)
        self.said = ""

    def until(self, words: str) -> str:
        """Read until `words` are said; returns what was said since the last time."""
        start, deadline = len(self.said), time.monotonic() + 60
        while words not in self.said[start:]:
            assert time.monotonic() < deadline, self.said
            self.said += os.read(self.end, 65536).decode()
        return self.said[start:]

    def answer(self, words: str, answer: str) -> str:
        said = self.until(words)
        os.write(self.end, f"{answer}\n".encode())
        return said


@pytest.fixture
def terminal(
    sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Workplace, Terminal]]]:
    started: list[Terminal] = []

    def start(*arguments: str, **environment: str) -> tuple[Workplace, Terminal]:
        place = workplace(sandbox(accounts=40, seed=9))
        started.append(Terminal(place, *arguments, **environment))
        return place, started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(10)
        os.close(one.end)


def test_a_whole_conversation_on_a_terminal_with_the_fields_of_the_system(
    terminal: Callable[..., tuple[Workplace, Terminal]],
) -> None:
    place, screen = terminal()
    file = place.environment["DEMO_CSV_FILE"]
    screen.answer("Name: ", "acme")
    screen.answer("Label", "")
    screen.answer("Which method: ", "browser")
    screen.answer("salesforce.domain", "login.salesforce.com")
    screen.answer("client_id", "")
    screen.answer("Which system: ", "file")
    screen.answer("billing.path", file)
    screen.answer("customer_id=number", "")
    screen.answer("Read the customers now", "")
    listed = screen.answer("by number or name: ", "nonsense")
    assert "company_number" in listed
    assert max(len(line.rstrip()) for line in listed.splitlines() if "company_number" in line) <= 100
    screen.answer("Take it all the same?", "no")
    screen.answer("by number or name: ", "company_number")
    screen.answer("Account field [Id]: ", "Company_Number__c")
    screen.answer("import.owners", "y")
    screen.answer("import.contacts", "n")
    screen.answer("empty for none", "")
    screen.answer("Which platform: ", "warehouse")
    screen.answer("Value: ", "https://pay.example.com/{customer_id}")
    screen.answer("empty for none", "")
    screen.answer("cron", "")
    screen.answer("timezone", "Europe/Paris")
    said = screen.until("check acme")
    assert screen.process.wait(20) == 0
    assert "connect acme" in said
    assert "ACME_CLIENT_ID" in said
    org = place.load().organizations["acme"]
    assert org.identifier.billing_field == "company_number"
    assert str(org.path(str(getattr(org.billing, "path", "")))) == file


def test_ctrl_c_leaves_nothing(terminal: Callable[..., tuple[Workplace, Terminal]]) -> None:
    place, screen = terminal()
    before = sorted(place.config.iterdir())
    screen.answer("Name: ", "acme")
    screen.until("Label")
    os.write(screen.end, b"\x03")
    assert screen.process.wait(20) == 130
    assert sorted(place.config.iterdir()) == before
