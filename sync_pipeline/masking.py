"""Personal data made unreadable for logs, events and samples: enough is left to recognize a row, not to read it."""

from __future__ import annotations

MASK = "•••"


def mask(value: object) -> str:
    """The value with all but the first character of each part hidden: `Anna Berg` -> `A••• B•••`, an address keeps its form.

    Addresses of web pages keep only their host, since a portal link opens a customer's debts to whoever has it.
    """
    if isinstance(value, list):
        return ", ".join(map(mask, value))
    text = "" if value is None else str(value)
    if "://" in text:
        scheme, _, rest = text.partition("://")
        return f"{scheme}://{rest.split('/')[0]}/{MASK}"
    if "@" in text:
        local, _, domain = text.partition("@")
        return f"{local[:1]}{MASK}@{domain[:1]}{MASK}"
    return " ".join(f"{word[0]}{MASK}" for word in text.split()[:4])
