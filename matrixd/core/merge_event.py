"""The event that joins the ends of a room that has forked: nobody said it, and nobody is told of it.

The specification knows no such event; this type is what other homeservers use for the same.
"""

MERGE_EVENT = "org.matrix.dummy_event"
