"""Train a model on datasets."""
