"""Pairs from language models."""
