"""A stand-in for Salesforce: OAuth, REST, SOQL, Bulk API 2.0 and record pages, over the sandbox's state."""

from sync_pipeline.sandbox.salesforce.app import create_app

__all__ = ["create_app"]
