"""Pairs and sentences written for this project."""
