"""`python -m anytalk.recipes` is `anytalk`."""

from anytalk.recipes.cli.main import main

main()
