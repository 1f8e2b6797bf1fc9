"""The arrows between the rooms go one way."""

import ast
from pathlib import Path

import pytest

from sync_pipeline_tests.paths import PROJECT

PACKAGE = PROJECT / "sync_pipeline"
SHARED = {"errors", "http", "progress", "settings", "yaml_types", "orgs"}
ALLOWED = {
    "errors": set(),
    "progress": set(),
    "settings": set(),
    "masking": set(),
    "http": {"errors"},
    "yaml_types": {"errors", "http"},
    "orgs": {"errors", "http", "settings", "yaml_types", "billing"},
    "logins": {"errors", "http", "settings"},
    "overdue": {"orgs"},
    "warehouse": {"errors"},
    "matching": {"warehouse", *SHARED},
    "salesforce": {"warehouse", "logins", *SHARED},
    "billing": {"warehouse", "logins", "masking", *SHARED} - {"orgs"},
    "receivables": {"warehouse", *SHARED},
    "preflight": {"matching", "warehouse", "salesforce", "billing", "receivables", *SHARED},
    "sandbox": set(),
}
WITHOUT_DAGSTER = set(ALLOWED)


def imports(file: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    for file in files(room):
        ours = {name.split(".")[1] for name in imports(file) if name.startswith("sync_pipeline.")}
        assert ours <= ALLOWED[room] | {room}, file.relative_to(PROJECT)


@pytest.mark.parametrize("room", sorted(WITHOUT_DAGSTER))
def test_clients_and_matching_know_no_dagster(room: str) -> None:
    for file in files(room):
        assert not {name for name in imports(file) if name.split(".")[0].startswith("dagster")}, file


def test_only_the_command_line_imports_the_sandbox() -> None:
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0]
        if room not in {"cli", "sandbox"}:
            assert not {name for name in imports(file) if name.startswith("sync_pipeline.sandbox")}, file
