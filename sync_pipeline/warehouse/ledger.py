"""What the ledger of merged accounts (`salesforce_merges`) leads to."""

SURVIVORS = """
    WITH RECURSIVE chain AS (
        SELECT merged_account_id, identifier, survivor_id FROM warehouse.main.salesforce_merges
        UNION
        SELECT chain.merged_account_id, chain.identifier, merge.survivor_id
        FROM chain JOIN warehouse.main.salesforce_merges AS merge ON merge.merged_account_id = chain.survivor_id
    )
    FROM chain ANTI JOIN warehouse.main.salesforce_merges AS merge ON merge.merged_account_id = chain.survivor_id"""
"""The ledger with the last survivor of each chain; none for a circle."""
