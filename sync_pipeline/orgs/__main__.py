"""Writes config/org.schema.json: `python -m sync_pipeline.orgs` in the project's folder."""

from __future__ import annotations

import json
from pathlib import Path

from sync_pipeline.orgs.schema import json_schema

SCHEMA_FILE = Path("config") / "org.schema.json"


def rendered() -> str:
    """The file's text."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.parent.mkdir(exist_ok=True)
    SCHEMA_FILE.write_text(rendered(), encoding="utf-8")
