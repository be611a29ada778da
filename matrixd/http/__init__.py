"""The HTTP side: `kit` is what all share; `client`, `federation`, `keys`, `media` and `admin` know nothing of each other."""
