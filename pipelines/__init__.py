"""Many rows, many machines: sources, the plan, work units, engine pools, commits and checks."""

if __name__ == "pipelines":
    raise ImportError("import anytalk.pipelines (pip install -e .), not the bare folder name")

from .build import Summary, build, recipe_of
from .check import Report, check
from .derive import Derived, filter_rows, merge
from .estimate import Estimate, estimate
from .preview import preview
from .rejudge import Rejudged, rejudge
from .repair import repair

__all__ = [
    "Derived",
    "Estimate",
    "Rejudged",
    "Report",
    "Summary",
    "build",
    "check",
    "estimate",
    "filter_rows",
    "merge",
    "preview",
    "recipe_of",
    "rejudge",
    "repair",
]
