"""An organization's file from plain data: what it says is what the loader reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.orgs import read_organization
from sync_pipeline.orgs.writing import written
from sync_pipeline_tests.orgs.factory import merged


@given(
    label=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    field=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
def test_whatever_is_typed_is_what_the_file_says(label: str, field: str) -> None:
    data = merged(label=label, identifier__billing_field=field, imports__account_fields={"Industry": field})
    org, findings = read_organization(written(data), Path("acme.yaml"))
    assert org is not None, findings
    assert (org.label, org.identifier.billing_field) == (label, field)
    assert org.imports.account_fields == {"Industry": field}


@pytest.mark.parametrize("field", ["\x85", "\u2028", "a\nb", "- a: #b", "no", "012", "{a}", "'", "$x", " ", "é"])
def test_a_field_that_yaml_reads_otherwise(field: str) -> None:
    org, findings = read_organization(written(merged(identifier__billing_field=field)), Path("acme.yaml"))
    assert org is not None, findings
    assert org.identifier.billing_field == field
