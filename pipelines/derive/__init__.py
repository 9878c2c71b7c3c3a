"""Datasets made from finished datasets, without speaking."""

from .combine import filter_rows, merge
from .write import Derived

__all__ = ["Derived", "filter_rows", "merge"]
