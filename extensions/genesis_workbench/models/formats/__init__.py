"""One file for each format of artifacts: what is refused before it is loaded, and how it is run.

A format goes in only where loading it cannot run code that the artifact brings along: nothing is ever unpickled.
"""
