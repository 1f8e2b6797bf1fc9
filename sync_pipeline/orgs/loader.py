"""From a folder of YAML files to organizations: every problem of every file at once, and no file stops another."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sync_pipeline.orgs.explain import shape_findings
from sync_pipeline.orgs.models import NAME_PATTERN, Organization, name_from, nearest
from sync_pipeline.orgs.problems import Problem, shown_path
from sync_pipeline.orgs.rules import rule_findings
from sync_pipeline.orgs.tree import Finding, Tree, read_tree
from sync_pipeline.orgs.tree import Path as TreePath
from sync_pipeline.settings import CONFIG_VARIABLE
from sync_pipeline.yaml_types.values import EnvRef

MAX_BYTES = 256 * 1024
"""More than the largest sensible file by far; PyYAML reads about 100 kB a second."""

MAX_PROBLEMS = 100
"""Of one file; a generated file that is wrong all over drowns the others' problems otherwise."""


@dataclass(frozen=True)
class Loaded:
    """What a folder of organization files says.

    Attributes:
        organizations: name to organization, of the files without a problem; sorted by name.
        problems: every problem of every file, by file and line.
        broken: name of the organization (made from the file's name where it can't be read) to its problems. No name is
            in both `organizations` and `broken`, so that each can be a partition.
    """

    organizations: dict[str, Organization] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: dict[str, list[Problem]] = field(default_factory=dict)


@dataclass
class _File:
    """One file on its way."""

    path: Path
    tree: Tree = field(default_factory=Tree)
    findings: list[tuple[int, str]] = field(default_factory=list)
    organization: Organization | None = None

    @property
    def name(self) -> str | None:
        """The organization's name as the file says it, where it is one."""
        name = self.tree.data.get("name") if isinstance(self.tree.data, dict) else None
        return name if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name) else None


def load_organizations(folder: Path) -> Loaded:
    """Read every `*.yaml` and `*.yml` of a folder; names that start with `_` or `.` are left out.

    Whatever the files hold, this returns: what can't be read is a problem. A folder that isn't there is one too.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        why = (
            f"the folder of the organizations' files can't be read ({error.strerror}). Create it, or name another in "
            f"the environment variable {CONFIG_VARIABLE}."
        )
        return Loaded(problems=[Problem(folder, 0, why, "")])
    files = [
        _read_file(folder / name)
        for name in names
        if name.lower().endswith((".yaml", ".yml")) and not name.startswith(("_", "."))
    ]
    _refuse_shared_names(files)
    return _sorted_out(files)


def read_organization(text: str, path: Path) -> tuple[Organization | None, list[Finding]]:
    """An organization from a file's text before it is written, and every finding; None where a model has one."""
    file = _File(path, read_tree(text))
    problems: list[Finding] = [((), message) for _, message in file.tree.problems]
    findings = [*problems, *_findings(file)]
    return file.organization, findings


def findings_of(data: dict[str, Any]) -> list[Finding]:
    """Every finding of what a file shall say, also while it is not whole."""
    return list(_findings(_File(Path(), Tree(data))))


def _read_file(path: Path) -> _File:
    file = _File(path)
    text = _text(file)
    if text is None:
        return file
    file.tree = read_tree(text)
    file.findings += file.tree.problems
    if isinstance(file.tree.data, dict):
        findings = list(_findings(file))
        file.findings += [(nearest(file.tree.lines, at), message) for at, message in findings]
    elif not file.tree.problems:
        what = (
            "the file is empty" if file.tree.data is None else "the file holds no keys with values, but something else"
        )
        file.findings.append((1, f"{what}. Allowed: the keys of one organization, as in config/orgs/_example.yaml."))
    last = max(1, len(re.findall("\r\n|[\r\n]", text.rstrip("\r\n"))) + 1)
    file.findings = [(min(line, last), message) for line, message in file.findings]
    if file.findings:
        file.organization = None
    return file


def _text(file: _File) -> str | None:
    """The file's text; None, with a finding, where it has none."""
    try:
        if not stat.S_ISREG(file.path.stat().st_mode):  # a pipe would be waited for, a device read for ever
            file.findings.append((0, "this is no file but a folder or a device. Allowed: a YAML file."))
            return None
        with file.path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        file.findings.append((0, f"the file can't be read ({error.strerror})."))
        return None
    if len(content) > MAX_BYTES:
        file.findings.append(
            (1, f"the file is larger than {MAX_BYTES // 1024} kB. Allowed: the settings of one organization.")
        )
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        file.findings.append((line, "the file is not UTF-8 from here on. Save it as UTF-8."))
        return None


def _findings(file: _File) -> Iterator[Finding]:
    tree = file.tree
    try:
        file.organization = Organization.model_validate(tree.data)
    except ValidationError as error:
        yield from shape_findings(error, tree)
    else:
        file.organization._file = file.path.absolute()  # another process may stand in another folder
        file.organization._lines = tree.lines
        _place_variables(file.organization, (), file)
    yield from rule_findings(tree.data)


def _place_variables(value: object, at: TreePath, file: _File) -> None:
    """Tell every EnvRef below `value` the line that names it."""
    if isinstance(value, EnvRef):
        value._where = f"{shown_path(file.path)}:{nearest(file.tree.lines, at)}"
    elif isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            _place_variables(getattr(value, name), (*at, info.alias or name), file)


def _refuse_shared_names(files: list[_File]) -> None:
    by_name: dict[str, list[_File]] = {}
    for file in files:
        if file.name:
            by_name.setdefault(file.name, []).append(file)
    for name, sharing in by_name.items():
        places = {id(file): f"{shown_path(file.path)}:{file.tree.lines['name',]}" for file in sharing}
        for file in sharing if len(sharing) > 1 else ():
            others = " and ".join(place for key, place in places.items() if key != id(file))
            message = (
                f"name: {name} is also the name in {others}. Give each organization a name of its own; until then none "
                "of them is synced."
            )
            file.findings.append((file.tree.lines["name",], message))
            file.organization = None


def _sorted_out(files: list[_File]) -> Loaded:
    good = {file.organization.name: file.organization for file in files if file.organization}
    loaded = Loaded(organizations=dict(sorted(good.items())))
    for file in files:
        if file.organization:
            continue
        org = file.name or _free_name(file.path, {*good, *loaded.broken, *(other.name for other in files)})
        problems = [Problem(file.path, line, message, org) for line, message in _told(file.findings)]
        loaded.broken.setdefault(org, []).extend(problems)
        loaded.problems.extend(problems)
    return loaded


def _told(findings: list[tuple[int, str]]) -> list[tuple[int, str]]:
    ordered = sorted(set(findings))
    told, rest = ordered[:MAX_PROBLEMS], ordered[MAX_PROBLEMS:]
    return [*told, (rest[0][0], f"{len(rest)} more problems from here on are left out.")] if rest else told


def _free_name(path: Path, taken: set[Any]) -> str:
    """A name for the organization of a file that does not say it, not yet taken."""
    name = base = name_from(path.stem)
    number = 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name
