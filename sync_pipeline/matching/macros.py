r"""How identifiers are read and compared, as DuckDB macros. Each rule is one macro; a key is a chain of them.

What the rules mean, exactly:

- *White space* (`trim`) is every character that can't be seen: Unicode's separators (space, no-break space, ...) and
  controls (tab, line break, ...), and the zero-width and direction marks that come along when text is copied. `trim`
  removes all of it, inside too: `552 100 554` and `552100554` are one registration number.
- *Case* (`case`) is Unicode's simple lower case, character by character, in no language: `İ` and `I` become `i`, `ı`
  stays; `ß` and `SS` stay different. It changes no length, and fewer values fall together than under full case
  folding.
- *Leading zeros* (`leading_zeros`) are the digits 0 at the very front. A value of zeros only keeps one: it is a
  number, not missing.
- A *Salesforce id* of 15 characters means the same as its 18-character form. The three more encode the case of the
  first 15, so letters of different case stay different records. Where white space stands around an id of 15, the
  three go to the end of it all, so that the rules may be applied in any order.

Two ways of writing one letter (é as one character, or as e and an accent) are two values under every rule: nothing is
guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import duckdb

from sync_pipeline.orgs.models import Rule

RULES: tuple[Rule, ...] = get_args(Rule)
"""In the order in which they are applied, and tried for near misses."""

_INVISIBLE = (
    r"\p{Z}\p{Cc}\x{AD}\x{61C}\x{180E}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{206F}\x{FEFF}"
)
_RULE_MACROS: dict[Rule, str] = {
    "trim": "without_white_space",
    "case": "without_case",
    "leading_zeros": "without_leading_zeros",
}
_SUFFIX_LETTER = " + ".join(f"{2**j} * (substr(five, {j + 1}, 1) BETWEEN 'A' AND 'Z')::INTEGER" for j in range(5))

_MACROS = {
    # The first branch answers for nearly every value without a regular expression: it starts with visible ASCII.
    "is_blank(value)": f"""
        value IS NULL OR CASE
            WHEN value >= '!' AND value < chr(127) THEN FALSE
            ELSE NOT regexp_matches(value, '[^{_INVISIBLE}]')
        END""",
    "without_white_space(value)": f"regexp_replace(value, '[{_INVISIBLE}]+', '', 'g')",
    "without_case(value)": "lower(value)",
    "without_leading_zeros(value)": r"regexp_replace(value, '(?s)^0+(.)', '\1')",
    "sf_suffix_letter(five)": f"substr('ABCDEFGHIJKLMNOPQRSTUVWXYZ012345', 1 + {_SUFFIX_LETTER}, 1)",
    "sf_suffix(id)": " || ".join(f"sf_suffix_letter(substr(id, {start}, 5))" for start in (1, 6, 11)),
    # An id of 18 is its own long form, whether or not its suffix fits. A macro repeats its argument wherever it names
    # it, so the ids that stand alone, which are the usual ones, go first.
    "sf_id18(value)": """
        CASE
            WHEN regexp_full_match(value, '[0-9A-Za-z]{18}') THEN value
            WHEN regexp_full_match(value, '[0-9A-Za-z]{15}') THEN value || sf_suffix(value)
            WHEN regexp_matches(value, '[^!-~]') AND regexp_full_match(without_white_space(value), '[0-9A-Za-z]{15}')
                THEN value || sf_suffix(without_white_space(value))
            ELSE value
        END""",
    "is_sf_id(value)": """
        CASE
            WHEN regexp_full_match(value, '[0-9A-Za-z]{18}') THEN right(value, 3) = sf_suffix(value)
            ELSE regexp_full_match(value, '[0-9A-Za-z]{15}')
        END""",
    # For sentences: short, and with white space that a page would swallow made visible.
    "shown(value)": f"""
        '''' || left(CASE
            WHEN regexp_matches(value, '^ | $|  ') OR regexp_matches(replace(value, ' ', ''), '[{_INVISIBLE}]')
                THEN regexp_replace(value, '[{_INVISIBLE}]', '␣', 'g')
            ELSE value
        END, 80) || CASE WHEN length(value) > 80 THEN '…' ELSE '' END || ''''""",
    "counted(number, noun)": "format('{:,} {}', number, noun) || CASE WHEN number = 1 THEN '' ELSE 's' END",
}


def install_macros(con: duckdb.DuckDBPyConnection) -> None:
    """Define the macros for as long as the connection lives.

    Of use to others: `sf_id18(text)` gives the 18-character form of a Salesforce id of 15, and anything else untouched;
    `is_blank(text)` is true for null, nothing and white space only.
    """
    for signature, body in _MACROS.items():
        con.execute(f"CREATE OR REPLACE TEMP MACRO {signature} AS ({body})")


def key_sql(column: str, rules: Iterable[Rule], *, salesforce_ids: bool) -> str:
    """SQL of the key by which `column` (an SQL expression) is compared when `rules` are on.

    Keys are nested: values that are equal under some rules are equal under those rules and more.
    """
    key = f"sf_id18({column})" if salesforce_ids else column
    for rule in RULES:
        if rule in rules:
            key = f"{_RULE_MACROS[rule]}({key})"
    return key
