"""One small file for each way to propose. A proposer is a pure function of what was seen so far."""
