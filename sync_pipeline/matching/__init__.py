"""Which billing customer is which Salesforce account: exact, one to one, and with a reason for everything set aside."""

from sync_pipeline.matching.guards import IN_SEVERAL_PAIRS, WITHOUT_ONE_VERDICT
from sync_pipeline.matching.match import match

__all__ = ["IN_SEVERAL_PAIRS", "WITHOUT_ONE_VERDICT", "match"]
