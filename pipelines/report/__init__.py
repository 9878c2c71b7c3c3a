"""A dataset for people: rows as tables, one row whole, why it is what it is, and a page to look and listen."""

from .explain import Change, Explanation, explain
from .frame import BESIDE, page, table
from .rows import ACCEPTED, FLAT, REJECTED, flat_tables
from .select import Selection, select
from .sound import save_sounds, write_played
from .whole import DEFERRED, WholeRow, whole_row
from .write import Reported, report

__all__ = [
    "ACCEPTED",
    "BESIDE",
    "DEFERRED",
    "FLAT",
    "REJECTED",
    "Change",
    "Explanation",
    "Reported",
    "Selection",
    "WholeRow",
    "explain",
    "flat_tables",
    "page",
    "report",
    "save_sounds",
    "select",
    "table",
    "whole_row",
    "write_played",
]
