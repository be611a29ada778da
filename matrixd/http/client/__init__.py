"""The client-server API, one file for each of the specification's API files."""
