"""What users of this server do beside events, told to the servers that it concerns: one file for each type of EDU.

All of it follows the feed, so it can run in any process that has one, an outbox, and (device lists) the writer.
"""
