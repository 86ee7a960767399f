"""Enhancement and separation of speech."""
