"""What tests of reports share."""

import pytest

from anytalk.pipelines.report import report


@pytest.fixture(scope="session")
def page(mixed_dataset, tmp_path_factory):
    """The report of a dataset with accepted, retried and rejected rows."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    report(str(mixed_dataset), str(path))
    return path
