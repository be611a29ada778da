"""The benchmark: the same work for matrixd and for Synapse, and what it cost each of them."""
