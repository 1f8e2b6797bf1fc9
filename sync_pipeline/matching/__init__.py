"""Which billing customer is which Salesforce account: exact, one to one, and with a reason for everything set aside."""

from sync_pipeline.matching.guards import Unaccounted, one_to_one_violations, unaccounted
from sync_pipeline.matching.macros import install_macros
from sync_pipeline.matching.match import match

__all__ = ["Unaccounted", "install_macros", "match", "one_to_one_violations", "unaccounted"]
