"""Stand-ins on loopback for Salesforce, Upflow and the billing systems, and the data they serve.

Nothing here imports the product: a stand-in that shares code with its client proves nothing.
"""
