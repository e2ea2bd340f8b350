"""One file for each protocol that a source of records speaks. What they share is in ``_base``."""
