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
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
import yaml

from sync_pipeline.billing.systems import settings, sources
from sync_pipeline.cli import asking, init
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs import Organization, load_organizations
from sync_pipeline.orgs.sections import choices_of, keys_of
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.cli.talking import Person
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.orgs.factory import write
from sync_pipeline_tests.paths import PROJECT

METHODS = ("client_credentials", "jwt", "browser")
SYSTEMS = choices_of(Organization.model_fields["billing"])
USUAL = {
    "salesforce.login": ["client_credentials"],
    "salesforce.domain": ["acme.my.salesforce.com"],
    "billing": ["stripe"],
    "identifier.billing_field": ["customer_number"],
    "receivables": ["upflow"],
    "export.portal_link.salesforce_field": ["Portal_Link__c"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", str(tmp_path / "config" / "orgs"))
    return tmp_path / "config" / "orgs"


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Person]:
    """Factory: a person with answers (by key, or by question), who has gone through `init acme`."""

    def go(*, dry_run: bool = False, picks: tuple[int, ...] = (), **answers: list[str]) -> Person:
        person = Person({**USUAL, **answers}, picks)
        monkeypatch.setattr(asking, "err", person.console)
        monkeypatch.setattr(init, "err", person.console)
        monkeypatch.setattr(sys, "stdin", person)
        assert init.init("acme", dry_run=dry_run) == 0
        return person

    return go


@pytest.mark.parametrize("picks", list(product((0, 1, 2), (0, 1))), ids=lambda picks: "".join(map(str, picks)))
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_s_file_loads(
    folder: Path, talk: Callable[..., Person], system: str, picks: tuple[int, int]
) -> None:
    """Each choice that a system's settings offer (login, one of several keys) is taken in some of the rounds."""
    person = talk(
        picks=picks,
        **{"billing": [system], "import.account_fields": ["Industry=Industry, Segment__c = The segment: A"]},
    )
    loaded = load_organizations(folder)
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    assert ": None" not in person.screen.getvalue()  # every key has its words
    org = loaded.organizations["acme"]
    assert org.billing.system == system
    assert org.imports.account_fields == {"Industry": "Industry", "Segment__c": "The segment: A"}
    text = (folder / "acme.yaml").read_text(encoding="utf-8")
    assert f"billing:\n  # {str(SYSTEMS[system].__doc__).splitlines()[0][:60]}" in text
    assert re.findall(r"^  login:\n(?:    # .*\n)*    (\w+):", text.partition("\nbilling:")[2], re.M) in (
        [],
        ["method"],
    )
    secrets = re.findall(r"^ +\w*(?:key|secret|password|token): (.*)$", text, re.M)
    assert secrets
    assert all(re.fullmatch(r"\{env: [A-Z_0-9]+\}", secret) for secret in secrets)


@pytest.mark.parametrize("platform", ["upflow", "warehouse"])
@pytest.mark.parametrize(("method", "pick"), [*((method, 0) for method in METHODS), ("jwt", 1)])
def test_every_login_and_platform_loads(
    folder: Path, talk: Callable[..., Person], method: str, pick: int, platform: str
) -> None:
    talk(picks=(pick,), **{"salesforce.login": [method], "receivables": [platform]})
    loaded = load_organizations(folder)
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    org = loaded.organizations["acme"]
    assert (org.salesforce.login.method, org.receivables.platform) == (method, platform)


def test_every_system_is_asked_for() -> None:
    assert set(SYSTEMS) == set(sources())
    assert len(SYSTEMS) == len(settings())


@pytest.mark.parametrize("system", SYSTEMS)
def test_whatever_may_be_left_out_can_be_set(folder: Path, talk: Callable[..., Person], system: str) -> None:
    given = {
        "format": "csv",
        "encoding": "cp1252",
        "delimiter": ";",
        "columns": "customer_id=number",
        "url": "https://api.example.com",
        "full_read_days": "3",
        "user_timezone": "Europe/Paris",
    }
    person = talk(billing=[system])
    offered = person.screen.getvalue().partition("billing: these may be left out.")[2].partition("Which to set")[0]
    names = re.findall(r"^ +\d+  (\w+)", offered, re.M)
    (folder / "acme.yaml").unlink()
    wanted = {f"billing.{name}": [given[name]] for name in names if name in given}
    chosen = [name.removeprefix("billing.") for name in wanted]
    talk(**{"billing": [system], "billing: these may be left out.": chosen, **wanted})
    billing = yaml.safe_load((folder / "acme.yaml").read_text())["billing"]
    assert set(chosen) <= set(billing)
    assert set(names) <= set(keys_of(SYSTEMS[system]))


def test_what_is_made_needed_by_another_answer_is_asked_for(folder: Path, talk: Callable[..., Person]) -> None:
    talk(**{"billing": ["file"], "billing.path": ["customers.dat"], "billing.format": ["", "xml", "jsonl"]})
    billing = load_organizations(folder).organizations["acme"].billing
    assert getattr(billing, "format", None) == "jsonl"


@pytest.mark.parametrize("again", [["Industry=Industry"], ["Industry=Company", ""]])
def test_what_a_later_answer_makes_wrong_is_asked_for_again(
    folder: Path, talk: Callable[..., Person], again: list[str]
) -> None:
    person = talk(
        **{
            "billing": ["upflow"],
            "identifier.billing_field": ["customFields.Company"],
            "import.account_fields": ["Industry=Company", *again],
            "receivables": ["upflow"],
        }
    )
    assert person.screen.getvalue().count("it would overwrite Company in Upflow") == len(again)
    org = load_organizations(folder).organizations["acme"]
    assert org.imports.account_fields == ({} if again[-1] == "" else {"Industry": "Industry"})


def test_an_answer_is_held_to_the_models_at_once(
    folder: Path, talk: Callable[..., Person], capsys: pytest.CaptureFixture[str]
) -> None:
    person = talk(
        dry_run=True,
        **{
            "salesforce.login": ["0", "saml", "1"],
            "salesforce.domain": ["login.salesforce.com", "acme\x1b[A", "acme.my.salesforce.com"],
            "billing": ["stripe"],
            "billing.api_key": ["sk_live_abcdefgh", "not a name", "STRIPE_KEY"],
            "import.owners": ["perhaps", "n"],
            "import.account_fields": ["Industry", "A b=c", "Industry=Industry"],
            "export.portal_link.salesforce_field": ["Industry", "Link__c"],
            "schedule.cron": ["1 2 3", "30 6 * * *"],
            "schedule.timezone": ["Paris", "Europe/Paris"],
        },
    )
    said = person.screen.getvalue()
    for words in (
        "refuses logins of servers",
        "an arrow key",
        "The secret itself is not asked for",
        "Allowed: client_credentials, jwt, browser",
        "Allowed: yes, no.",
        "'A b' is no API name",
        "which is imported",
        "'1 2 3' is no schedule",
        "Is it Europe/Paris?",
    ):
        assert words in said
    text = capsys.readouterr().out
    assert "sk_live_abcdefgh" not in text + said
    data = yaml.safe_load(text)
    assert data["billing"] == {"system": "stripe", "api_key": {"env": "STRIPE_KEY"}}
    assert data["import"]["owners"] is False
    assert data["schedule"] == {"cron": "30 6 * * *", "timezone": "Europe/Paris"}
    assert not folder.exists()


@pytest.mark.parametrize("file", ["acme.yaml", "other.yaml", "acme.yml"])
def test_a_taken_name_is_refused_before_the_first_question(folder: Path, file: str) -> None:
    write(folder, "name: acme\n", file)
    with pytest.raises(ConfigurationError, match=r"There is an organization acme already.*--dry-run"):
        init.init("acme", dry_run=False)


@pytest.mark.parametrize("name", ["Acme SA", "../acme", ""])
def test_a_name_that_is_none(folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="Is it "):
        init.init(name, dry_run=False)


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    folder: Path, talk: Callable[..., Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(file: Path, text: str) -> None:
        write(folder, "theirs", "acme.yaml")
        really(file, text)

    really = init._write
    monkeypatch.setattr(init, "_write", late)
    with pytest.raises(ConfigurationError, match="There is a file"):
        talk()
    assert (folder / "acme.yaml").read_text() == "theirs"


def test_the_fields_to_choose_from_and_answers_given_again(folder: Path, talk: Callable[..., Person]) -> None:
    folder.mkdir(parents=True)
    rows = "".join(f"{at},A{at:02},{at % 2},{'x' if at % 5 else ''}\n" for at in range(30))
    (folder / "customers.csv").write_text(f"number,crm,odd,seldom\n{rows}", encoding="utf-8")
    person = talk(
        **{
            "billing": ["file", "file"],
            "billing: these may be left out.": ["", "columns", ""],
            "billing.path": ["nowhere.csv", "customers.csv"],
            "billing.columns": ["number", "customer=number", "customer_id=number"],
            "Answer the questions about the billing system again?": ["yes"],
            "identifier.billing_field": [],
            "Field, by number, or the name of any other": ["nonsense", "crm"],
            "No customer has the field nonsense. Take it all the same?": ["no"],
        }
    )
    said = person.screen.getvalue()
    assert "Allowed: pairs" in said
    assert "nowhere.csv can't be opened" in said
    assert "acme.yaml:" not in said  # no line of a file that is not there yet
    assert "30 customers." in said
    assert re.search(r"1  crm +could be it: filled by 100 %", said)
    assert not re.search(r"\d  odd ", said)
    org = load_organizations(folder).organizations["acme"]
    assert org.identifier.billing_field == "crm"
    assert getattr(org.billing, "columns", None) == {"customer_id": "number"}


def test_the_end_says_what_to_set_and_what_to_run(
    folder: Path, talk: Callable[..., Person], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_UPFLOW_KEY", "x")
    person = talk(**{"salesforce.login": ["browser"], "billing": ["quickbooks"]})
    assert "can't be listed yet: not set here: ACME_QUICKBOOKS_CLIENT_ID" in person.screen.getvalue()
    said = capsys.readouterr().out
    assert f"{folder / 'acme.yaml'} is written" in said
    names = ["ACME_CLIENT_ID", "ACME_QUICKBOOKS_CLIENT_ID", "ACME_QUICKBOOKS_CLIENT_SECRET", "ACME_UPFLOW_SECRET"]
    assert re.findall(r"^    (\w+)$", said, re.M) == names
    commands = ["connect acme", "connect acme --billing", "billing fields acme", "check acme", "sync acme --dry-run"]
    assert re.findall(r"^  sync-pipeline (.*?)  ", said, re.M) == commands


def test_the_file_points_editors_to_the_schema_where_it_lies_beside(folder: Path, talk: Callable[..., Person]) -> None:
    folder.mkdir(parents=True)
    (folder.parent / "org.schema.json").write_text("{}")
    talk()
    assert (folder / "acme.yaml").read_text().startswith("# yaml-language-server: $schema=../org.schema.json\n")


def test_nobody_to_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("client_credentials\n"))
    with pytest.raises(ConfigurationError, match=r"nothing was written. Run it in a terminal"):
        init.init("acme", dry_run=False)
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
    place, screen = terminal("acme")
    file = place.environment["DEMO_CSV_FILE"]
    screen.answer("Which method: ", "browser")
    screen.answer("salesforce.domain", "login.salesforce.com")
    screen.answer("client_id", "")
    screen.answer("client_secret", "")  # may be left out
    screen.answer("Which to set", "")
    screen.answer("Which system: ", "file")
    screen.answer("billing.path", file)
    screen.answer("Which to set", "")
    screen.answer("Read the customers now", "")
    listed = screen.answer("any other: ", "nonsense")
    assert "company_number" in listed
    assert max(len(line.rstrip()) for line in listed.splitlines() if "company_number" in line) <= 100
    screen.answer("Take it all the same?", "no")
    screen.answer("any other: ", "company_number")
    screen.answer("[Id]: ", "Company_Number__c")
    screen.answer("import.owners", "y")
    screen.answer("import.contacts", "n")
    screen.answer("empty for none", "")
    screen.answer("Which platform: ", "warehouse")
    screen.answer("Value: ", "https://pay.example.com/{customer_id}")
    screen.answer("Which to set", "")
    screen.answer("export: ", "no")
    screen.answer("cron", "")
    screen.answer("timezone", "Europe/Paris")
    said = screen.until("dry-run")
    assert screen.process.wait(20) == 0
    assert "connect acme" in said
    assert "ACME_CLIENT_ID" in said
    org = place.load().organizations["acme"]
    assert org.identifier.billing_field == "company_number"
    assert org.export.portal_link is None
    assert str(org.path(str(getattr(org.billing, "path", "")))) == file


def test_ctrl_c_leaves_nothing_and_says_so(terminal: Callable[..., tuple[Workplace, Terminal]]) -> None:
    place, screen = terminal("acme")
    before = sorted(place.config.iterdir())
    screen.answer("Which method: ", "1")
    screen.until("domain")
    os.write(screen.end, b"\x03")
    screen.until("nothing was written")
    assert screen.process.wait(20) == 130
    assert sorted(place.config.iterdir()) == before
