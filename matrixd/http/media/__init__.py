"""The content repository. Comes with media."""
