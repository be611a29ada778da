"""The composition roots of worker processes. Come with replication."""
