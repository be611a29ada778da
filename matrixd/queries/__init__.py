"""The read side: answers from memory and the database. Runs in any process that follows the feed."""
