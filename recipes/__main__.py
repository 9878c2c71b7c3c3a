"""`python -m anytalk.recipes` is `anytalk`."""

from anytalk.recipes.cli import main

main()
