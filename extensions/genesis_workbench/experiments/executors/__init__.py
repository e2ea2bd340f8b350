"""One small file for each way to execute a trial. A simulation says so: `simulated` is True."""
