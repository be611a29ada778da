"""The administration endpoints."""
