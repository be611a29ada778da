"""What another server would see of a server: each step of reaching it is tried, and explained with its cure."""
