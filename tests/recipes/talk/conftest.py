"""What tests of talking share."""

import sys

import pytest

from anytalk.recipes.cli import main


@pytest.fixture
def anytalk(monkeypatch, capfdbinary, tmp_path):
    """Run the command line in an empty folder; give its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["anytalk", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfdbinary.readouterr()
        return caught.value.code or 0, out, err.decode()

    return run
