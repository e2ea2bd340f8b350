"""One file for each format that can be opened lazily. What they share is in ``_base``."""
