"""The asset checks: queries for the rows that should not be there, one module per group."""
