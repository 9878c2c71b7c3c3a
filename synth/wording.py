"""Words of messages: a number with its noun."""


def quantity(number: int, noun: str) -> str:
    """Give a number with its noun, in the plural unless it is one.

    >>> quantity(1, "row"), quantity(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
