"""Benchmarks: each prints its figure, the naive way's in the same run, and the bound."""
