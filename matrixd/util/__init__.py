"""Leaf helpers that know nothing of Matrix."""
