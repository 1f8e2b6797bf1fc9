"""Keeps billing customers and Salesforce accounts one to one, and the receivables platform in step with both."""
