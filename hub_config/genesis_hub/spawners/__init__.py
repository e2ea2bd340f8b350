"""Where people's servers run: one small file for each kind of place."""
