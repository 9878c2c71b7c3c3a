"""Many rows, many machines: sources, the plan, work units, engine pools, commits and checks."""

if __name__ == "pipelines":
    raise ImportError("import anytalk.pipelines (pip install -e .), not the bare folder name")

from .build import Summary, build, recipe_of
from .check import Report, check
from .estimate import Estimate, estimate
from .preview import preview
from .rejudge import Rejudged, rejudge
from .repair import repair

__all__ = [
    "Estimate",
    "Rejudged",
    "Report",
    "Summary",
    "build",
    "check",
    "estimate",
    "preview",
    "recipe_of",
    "rejudge",
    "repair",
]
