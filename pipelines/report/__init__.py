"""A dataset for people: rows as tables, one row whole, why it is what it is, and a page to look and listen."""

from .explain import Change, Explanation, explain
from .rows import ACCEPTED, FLAT, REJECTED, flat_tables
from .select import Selection, select
from .sound import save_sounds, write_played
from .whole import DEFERRED, WholeRow, whole_row

__all__ = [
    "ACCEPTED",
    "DEFERRED",
    "FLAT",
    "REJECTED",
    "Change",
    "Explanation",
    "Selection",
    "WholeRow",
    "explain",
    "flat_tables",
    "save_sounds",
    "select",
    "whole_row",
    "write_played",
]
