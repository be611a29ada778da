"""Several servers that federate over TLS on the loopback interface, and a network between them that fails on demand."""
