"""Suites: measure one thing that a model does, on any data, with intervals, ceilings and a model card."""

from .command import SuiteOptions, evaluate_suite

__all__ = ["SuiteOptions", "evaluate_suite"]
