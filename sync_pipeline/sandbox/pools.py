"""Names, words and dates the world is made of: drawn once from Faker, picked by hashing afterwards."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from faker import Faker

LANGUAGES = {"en_US": "English", "fr_FR": "French", "de_DE": "German", "es_ES": "Spanish", "it_IT": "Italian"}
INDUSTRIES = ("Banking", "Biotechnology", "Construction", "Consulting", "Energy", "Media", "Retail", "Technology", None)
SEGMENTS = ("Enterprise", "Mid-market", "Small business", None)
KINDS = ("Customer - Direct", "Customer - Channel", "Prospect", None)
COUNTRIES = ("France", "Germany", "United Kingdom", "United States", "Spain", "Italy", "Japan", None)
COUNTRY_CODES = ("FR", "DE", "GB", "US", "ES", "IT", "JP", None)
CURRENCIES = ("eur", "usd", "gbp", "eur", "jpy", "kwd")
"""With the yen, which has no minor unit, and the dinar, which has a thousand."""

DEPARTMENTS = ("Finance", "Accounts Payable", "Purchasing", "IT", None)
LEGAL_FORMS = ("Ltd", "GmbH", "SAS", "Inc.", "S.p.A.", "S.L.", "AG", "LLC", "& Co. KG", "SARL")
WORDS = (
    "Systems", "Logistics", "Foods", "Energy", "Partners", "Robotics", "Labs", "Textiles", "Media", "Marine",
    "Analytics", "Paper", "Optics", "Clinics", "Studios", "Cargo", "Timber", "Hotels", "Tools", "Bakeries",
)  # fmt: skip
ODD_NAMES = (
    'O\'Neil "Quick" & Søns, Inc.',
    "🚀 Rocket Läunch 🧑‍🚀 Ltd",
    "株式会社さくら商事",
    "شركة النور للتجارة",
    "'; DROP TABLE account; --",
    "<b>Bold</b> & <script>alert(1)</script>",
    '=HYPERLINK("https://example.com";"Click")',
    "Semi;colon, comma\tand tab",
    "Ünïcödé Ñandú Œuvre \\ back\\slash",
    "N/A",
    "W" * 240 + " Holding S.A. *",  # 255 characters, the longest a name may be
)
NOTES = ('First line.\nSecond line, with "quotes".\r\nThird; line.', "Called on Monday,\nwants a single invoice 📄")
DAYS = 2000
_FIRST_DAY = datetime(2019, 1, 7, tzinfo=UTC)
FIRST_SECOND = int(_FIRST_DAY.timestamp())


@dataclass(frozen=True)
class Person:
    """A first or a last name, with the form it takes in an e-mail address."""

    text: str
    slug: str


@dataclass(frozen=True)
class Pools:
    """Lists to pick from. Each has a length of its own, so that picks by one number do not go in step."""

    first_names: tuple[tuple[Person, str], ...]
    last_names: tuple[Person, ...]
    titles: tuple[str | None, ...]
    days: tuple[str, ...]
    minutes: tuple[str, ...]


def make_pools(seed: int) -> Pools:
    """The pools of one seed."""
    first: list[tuple[Person, str]] = []
    last: list[Person] = []
    titles: list[str | None] = []
    for locale, language in LANGUAGES.items():
        fake = Faker(locale)
        fake.seed_instance(seed)
        first += [(_person(fake.first_name()), language) for _ in range(61)]
        last += [_person(fake.last_name()) for _ in range(89)]
        titles += [fake.job() for _ in range(29)]
    last += [Person("L" * 80, "long"), Person('Ñúñez "Q", Jr. 👩‍💼', "nunez"), Person("O'Brien-Łuków", "obrien")]
    titles += [None, "CFO 💶", 'Head of "Everything", Europe', "Comptable\tprincipale"]
    Random(seed).shuffle(titles)
    days = tuple(f"{_FIRST_DAY + timedelta(days=day):%Y-%m-%d}" for day in range(DAYS))
    minutes = tuple(f"T{minute // 60:02}:{minute % 60:02}:{minute % 53:02}.000Z" for minute in range(1440))
    return Pools(tuple(first), tuple(last), tuple(titles), days, minutes)


def _person(text: str) -> Person:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return Person(text, "".join(letter for letter in plain if letter.isalnum()) or "x")
