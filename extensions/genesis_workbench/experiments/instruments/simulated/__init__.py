"""A laboratory that does not exist: a liquid handler, a furnace and a spectrometer that make films of perovskite.

`physics.py` is the model with its sources, `world.py` what is in the laboratory and what was done there, `twin.py` the
process that the devices live in, `instruments.py` the adapters that a gateway loads.
"""
