"""Measure how well a trained model talks."""
