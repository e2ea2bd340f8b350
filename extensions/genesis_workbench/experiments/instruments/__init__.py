"""Robotic laboratories: what an instrument is, the gateway that owns a laboratory's devices, and its client.

One process for each laboratory, the gateway, is the only one that talks to its devices. It keeps a durable queue in
which a plan's key is its identity, checks limits and interlocks before anything moves, and after a crash asks the
devices before it does anything. `simulated/` is a whole laboratory that says that it is simulated. Nothing about
proposing or deciding here.
"""
