import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.sandbox.salesforce.ids import make_id
from sync_pipeline.yaml_types.ids import id_18


@pytest.mark.parametrize(
    ("short", "whole"), [("001IV00000hHdc7", "001IV00000hHdc7YAC"), ("00D000000000062", "00D000000000062EAA")]
)
def test_both_forms_are_one_id(short: str, whole: str) -> None:
    assert id_18(short) == id_18(whole) == whole


@given(st.integers(0, 62**9 - 1))
def test_the_sandbox_counts_alike(number: int) -> None:
    record_id = make_id("00D", number)
    assert id_18(record_id) == id_18(record_id[:15]) == record_id


@pytest.mark.parametrize(
    "wrong", ["", "001IV00000hHdc7YA", "001IV00000hhdc7YAC", "001IV00000hHdc7YAc", "001IV00000hHdc-"]
)
def test_what_is_no_id_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"no Salesforce id|would be"):
        id_18(wrong)
