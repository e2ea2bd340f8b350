"""A bluesky-queueserver as an instrument, and what its worker runs. The server itself, and its Redis, are the facility's.

The adapter speaks the server's own protocol over ZeroMQ; nothing of the server is installed here.
"""
