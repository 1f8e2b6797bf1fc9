"""Ids as the real systems make them, from running numbers: the same number gives the same id."""

from __future__ import annotations

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PAIRS = tuple(f"{a}{b}" for a in DIGITS for b in DIGITS)
"""Two base-62 digits, in the order of their bytes: ids made from them ascend like their numbers."""

SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
CAPITALS = tuple(pair[0].isupper() + 2 * pair[1].isupper() for pair in PAIRS)
"""Of each pair, which letters are A-Z: 1 for the first, 2 for the second."""
_MASK = (1 << 64) - 1


def suffix(id15: str) -> str:
    """The three characters that make an 18-character id of a 15-character one: each holds which of five are A-Z."""
    return "".join(
        SUFFIX[sum(1 << bit for bit, letter in enumerate(id15[at : at + 5]) if "A" <= letter <= "Z")]
        for at in (0, 5, 10)
    )


class SalesforceIds:
    """Makes 18-character record ids from 0, 1, 2, ..., ascending.

    Base 62 tells capitals from small letters, so from 37 records up (start is rounded to a whole row of 62) some ids
    differ in nothing but the case of a letter, as they do in every real organization.

    Args:
        prefix: three characters that say the object, e.g. 001.
        pod: two characters of the instance.
        start: number of the first record; leave room for what is counted from it below 62**5.
    """

    def __init__(self, prefix: str, pod: str, start: int) -> None:
        self.head = f"{prefix}{pod}00000"
        self.head_suffix = suffix(self.head + "00000")[:2]
        self.first = start - start % 62

    def __call__(self, number: int) -> str:
        """The id of one record."""
        high, low = divmod(self.first + number, 3844)
        top, middle = divmod(high, 3844)
        capitals = DIGITS[top].isupper() + 2 * CAPITALS[middle] + 8 * CAPITALS[low]
        return f"{self.head}{DIGITS[top]}{PAIRS[middle]}{PAIRS[low]}{self.head_suffix}{SUFFIX[capitals]}"


def mixed(number: int, salt: int) -> int:
    """64 well-mixed bits of a number (splitmix64's finalizer): the world's dice, without a generator to carry along."""
    bits = (number * 0x9E3779B97F4A7C15 + salt) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def stripe_customer_id(number: int, dice: int) -> str:
    """cus_ and 14 characters: unique because the number is in it (its order is not), the rest from `dice`."""
    scattered = (number * 387_420_489 + 17) % 14_776_336  # coprime to 62**4, so no two numbers meet
    high, low = divmod(scattered, 3844)
    return (
        f"cus_{PAIRS[dice % 3844]}{PAIRS[(dice >> 12) % 3844]}{PAIRS[low]}{PAIRS[(dice >> 24) % 3844]}"
        f"{PAIRS[high]}{PAIRS[(dice >> 36) % 3844]}{PAIRS[(dice >> 48) % 3844]}"
    )


def uuid_of(number: int, dice: int) -> str:
    """A UUID that ascends with its number, like UUIDs of version 7: rows enter their index at its end."""
    digits = f"{number + 0x01900000:08x}{dice:016x}"
    return f"{digits[:8]}-{digits[8:12]}-7{digits[12:15]}-9{digits[15:18]}-{digits[12:24]}"
