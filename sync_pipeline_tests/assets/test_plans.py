"""The gate that plans pass before they leave."""

import pandas as pd
import pytest

from sync_pipeline.assets.plans import EXPORT_PLAN, validated
from sync_pipeline.errors import GuardStop

GOOD = {
    "salesforce_account_id": ["001000000000001AAA", "001000000000002AAA"],
    "billing_customer_id": ["cus_1", "cus_2"],
    "url": ["https://portal.example.com/1", "https://portal.example.com/2"],
}


def test_a_plan_of_its_type_passes_untouched() -> None:
    plan = pd.DataFrame(GOOD)
    assert validated(plan, EXPORT_PLAN, "acme") is plan


def test_an_empty_plan_passes() -> None:
    plan = pd.DataFrame({name: pd.Series(dtype="string") for name in GOOD})
    assert validated(plan, EXPORT_PLAN, "acme").empty


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": ["https://portal.example.com/secret", None]}, "url"),
        ({"url": ["https://portal.example.com/secret", "  "]}, "url"),
        ({"salesforce_account_id": ["001000000000001AAA"] * 2}, "salesforce_account_id"),
        ({"further": ["secret", "secret"]}, "further"),
    ],
)
def test_anything_else_stops_and_names_no_value(change: dict[str, list[str | None]], words: str) -> None:
    with pytest.raises(GuardStop, match=words) as stop:
        validated(pd.DataFrame({**GOOD, **change}), EXPORT_PLAN, "acme")
    assert "acme" in str(stop.value)
    for secret in ("secret", "cus_1", "001000000000001AAA"):
        assert secret not in str(stop.value)


def test_a_missing_column_stops() -> None:
    with pytest.raises(GuardStop):
        validated(pd.DataFrame(GOOD).drop(columns="url"), EXPORT_PLAN, "acme")
