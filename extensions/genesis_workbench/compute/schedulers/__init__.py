"""One small file for each scheduler. What they share is in _base.py; none imports another."""
