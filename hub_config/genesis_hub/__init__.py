"""What runs inside the hub's process, and the command line.

Imports nothing of ours but ``genesis_workbench.core``: a broken widget or data library cannot stop a login.
"""
