"""Folders of files: one file's trouble is that file's."""

import os
from pathlib import Path

import pytest

from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs import EnvRef, load_organizations, unset_variables
from sync_pipeline.orgs.loader import MAX_BYTES, MAX_PROBLEMS
from sync_pipeline_tests.orgs.factory import VALID, load, make_organization, merged, write


def test_reads_yaml_files_and_leaves_others_out(tmp_path: Path) -> None:
    write(tmp_path, merged(name="b"), "b.yaml")
    write(tmp_path, merged(name="a"), "a.YML")
    for ignored in ("_example.yaml", ".#a.yaml", "._a.yaml", "a.yaml.bak", "notes.txt"):
        write(tmp_path, "not: [yaml", ignored)
    loaded = load_organizations(tmp_path)
    assert list(loaded.organizations) == ["a", "b"]
    assert (loaded.problems, loaded.broken) == ([], {})


def test_a_broken_file_leaves_the_others_working(tmp_path: Path) -> None:
    write(tmp_path, merged(name="good"), "good.yaml")
    write(tmp_path, merged(name="bad", schedule={"timezone": "Europe/Pari"}), "bad.yaml")
    write(tmp_path, "name: [\n", "Worse one!.yaml")
    write(tmp_path, "", "2024.yaml")
    loaded = load_organizations(tmp_path)
    assert list(loaded.organizations) == ["good"]
    assert sorted(loaded.broken) == ["bad", "org_2024", "worse_one"]
    assert [problem for name in ("org_2024", "worse_one", "bad") for problem in loaded.broken[name]] == loaded.problems
    assert {problem.org for problem in loaded.broken["bad"]} == {"bad"}


def test_no_name_is_both_good_and_broken(tmp_path: Path) -> None:
    write(tmp_path, merged(name="acme"), "good.yaml")
    write(tmp_path, "name: [\n", "acme.yaml")
    write(tmp_path, "name: [\n", "ACME.yml")
    loaded = load_organizations(tmp_path)
    assert list(loaded.organizations) == ["acme"]
    assert sorted(loaded.broken) == ["acme_2", "acme_3"]


def test_a_name_used_twice_loads_neither_and_each_names_the_other(tmp_path: Path) -> None:
    write(tmp_path, merged(), "one.yaml")
    write(tmp_path, {"label": "Two", **VALID}, "two.yaml")
    write(tmp_path, {**merged(), "extra": 1}, "three.yaml")
    loaded = load_organizations(tmp_path)
    assert loaded.organizations == {}
    assert list(loaded.broken) == ["acme"]
    by_file = {problem.file.name: problem for problem in loaded.problems if problem.message.startswith("name:")}
    assert by_file["one.yaml"].line == 1
    assert by_file["two.yaml"].line == 2
    assert f"{tmp_path / 'two.yaml'}:2" in by_file["one.yaml"].message
    assert f"{tmp_path / 'one.yaml'}:1" in by_file["two.yaml"].message
    assert len(loaded.problems) == 4  # three names, and the unknown key


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", 1, "empty"),
        (b"# only a comment\n\n", 1, "empty"),
        (b"- name: acme\n", 1, "no keys with values"),
        (b"acme\n", 1, "no keys with values"),
        (b"name: acme\nlabel: \xe9\n", 2, "not UTF-8"),
        ("name: acme\n".encode("utf-16"), 1, "not UTF-8"),
        (b"#" * (MAX_BYTES + 1), 1, "larger than"),
    ],
)
def test_files_that_hold_no_organization(tmp_path: Path, content: bytes, line: int, says: str) -> None:
    (tmp_path / "acme.yaml").write_bytes(content)
    loaded = load_organizations(tmp_path)
    (problem,) = loaded.problems
    assert (problem.line, problem.org) == (line, "acme")
    assert says in problem.message
    assert loaded.broken == {"acme": [problem]}


def test_a_file_that_is_wrong_all_over_does_not_drown_the_others(tmp_path: Path) -> None:
    write(tmp_path, "label: x\n" * 1000)
    problems = load_organizations(tmp_path).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].message.endswith("more problems from here on are left out.")


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    path = write(tmp_path, merged())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(load_organizations(tmp_path).organizations) == ["acme"]


def test_names_of_files_are_printable_whatever_they_are(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff\x1b[2J\n.yaml", "wb"):
        pass
    (problem,) = load_organizations(tmp_path).problems
    assert problem.org == "org_2j"
    assert str(problem).isprintable()


def test_things_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.yaml")
    loaded = load_organizations(tmp_path)
    says = {problem.org: problem.message for problem in loaded.problems}
    assert set(says) == {"folder", "loop", "gone", "endless", "pipe"}
    assert "no file" in says["folder"]
    assert "no file" in says["pipe"]
    assert "no file" in says["endless"]
    assert "can't be read" in says["loop"]
    assert "can't be read" in says["gone"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission(tmp_path: Path) -> None:
    write(tmp_path, merged()).chmod(0)
    assert "can't be read (Permission denied)" in load_organizations(tmp_path).problems[0].message


def test_a_folder_that_is_not_there_is_a_problem_too(tmp_path: Path) -> None:
    (problem,) = load_organizations(tmp_path / "nowhere").problems
    assert "Create it" in problem.message
    assert str(problem).startswith(f"{tmp_path / 'nowhere'}: ")


def test_places_are_shown_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    organization = make_organization(folder=Path("config/orgs"))
    assert organization.where("billing", "path") == "config/orgs/acme.yaml:11"
    assert organization.where("billing", "columns", "name") == "config/orgs/acme.yaml:9"
    assert organization.where("schedule", "cron") == "config/orgs/acme.yaml:1"
    monkeypatch.chdir("/")
    assert organization.file == tmp_path / "config/orgs/acme.yaml"
    assert organization.path("a.csv") == tmp_path / "config/orgs/a.csv"


def test_paths_count_from_the_yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    organization = make_organization(folder=tmp_path / "orgs")
    monkeypatch.setenv("CSV", "from_env.csv")
    assert organization.path("customers.csv") == tmp_path / "orgs/customers.csv"
    assert organization.path(EnvRef(env="CSV")) == tmp_path / "orgs/from_env.csv"
    assert organization.path("/data/customers.csv") == Path("/data/customers.csv")
    assert organization.path("~/customers.csv") == Path.home() / "customers.csv"
    assert organization.path("~nobody_of_that_name/x") == tmp_path / "orgs/~nobody_of_that_name/x"


def test_variables_are_read_when_used_and_missing_ones_name_their_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACME_CLIENT_SECRET", raising=False)
    organization = make_organization(folder=tmp_path)
    login = organization.salesforce.login
    assert login.method == "client_credentials"
    with pytest.raises(ConfigurationError, match=r"yaml:7: the environment variable ACME_CLIENT_SECRET is not set"):
        login.client_secret.value()
    assert [(problem.line, problem.org) for problem in unset_variables(organization)] == [(7, "acme")]
    monkeypatch.setenv("ACME_CLIENT_SECRET", " \n")
    with pytest.raises(ConfigurationError, match="is empty"):
        login.client_secret.value()
    monkeypatch.setenv("ACME_CLIENT_SECRET", "hunter2\n")
    assert login.client_secret.value() == "hunter2"
    assert unset_variables(organization) == []
    assert "hunter2" not in repr(organization)


def test_all_problems_of_all_files_come_at_once_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    write(tmp_path, merged(name="b", label=12, schedule={"cron": "x", "timezone": "y"}), "b.yaml")
    loaded = load(
        tmp_path, merged(billing={"system": "database", "url": "x"}, identifier__normalize=["trim", "trim", "Case"])
    )
    assert [problem.file.name for problem in loaded.problems] == ["acme.yaml"] * 4 + ["b.yaml"] * 3
    lines = [problem.line for problem in loaded.problems]
    assert lines[:4] == sorted(lines[:4])
    assert lines[4:] == sorted(lines[4:])
