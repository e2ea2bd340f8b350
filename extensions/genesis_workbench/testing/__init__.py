"""Contract tests that every plug-in must pass, ours and other people's, and peers that misbehave on purpose.

Subclass a contract in a test module and name the plug-in. Never imported at run time.
"""
