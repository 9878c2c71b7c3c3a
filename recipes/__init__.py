"""What people run: the command line, recipes, training, evaluation and talking. Nothing imports it."""

if __name__ == "recipes":
    raise ImportError("import anytalk.recipes (pip install -e .), not the bare folder name")
