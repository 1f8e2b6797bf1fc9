"""Ways in that several systems share: where logins are kept, how a person grants one by browser, how it is renewed.

connecting -> code_flow, rotating -> grants -> tokens -> keyrings; rotating, client_credentials -> bearer -> answers; callback
"""
