"""Where things are beside the tests."""

from pathlib import Path

PROJECT = Path(__file__).parents[1]
CONFIG = PROJECT / "config"
