"""Ways from Salesforce into the warehouse: whole, or what changed.

load -> changes, merges -> reading -> bulk -> pages
"""
