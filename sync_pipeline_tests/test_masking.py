"""Personal data in samples."""

import pytest

from sync_pipeline.masking import MASK, mask


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("Anna Berg", f"A{MASK} B{MASK}"),
        ("anna.berg@example.com", f"a{MASK}@e{MASK}"),
        ("https://portal.example.com/c/secret?token=1", f"https://portal.example.com/{MASK}"),
        ("", ""),
        (None, ""),
        ("+33 1 23 45 67 89 10", f"+{MASK} 1{MASK} 2{MASK} 4{MASK}"),
        (["a@b.c", "d@e.f"], f"a{MASK}@b{MASK}, d{MASK}@e{MASK}"),
    ],
)
def test_enough_is_left_to_recognize_and_not_to_read(value: object, masked: str) -> None:
    assert mask(value) == masked
