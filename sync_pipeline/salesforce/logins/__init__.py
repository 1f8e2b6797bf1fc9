"""Ways in: a server's login, a person's, and where a person's is kept.

connecting -> login -> browser_login, server_login -> tokens, approvals -> oauth; what other systems' logins need as well
stands in `sync_pipeline.logins`
"""
