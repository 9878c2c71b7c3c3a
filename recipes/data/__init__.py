"""Rows of datasets as training samples and batches."""
