"""What the tests stand on: the OpenAPI checker, the test client, temporary PostgreSQL clusters and server processes."""
