"""Ways in: a server's login, a person's, and where a person's is kept.

connecting, callback -> login -> browser_login, server_login -> tokens, keyrings, approvals -> oauth
"""
