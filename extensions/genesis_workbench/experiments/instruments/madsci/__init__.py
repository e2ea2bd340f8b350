"""A MADSci node as an instrument, over its REST interface, and a simulated node. MADSci itself is the laboratory's.

The adapter speaks HTTP and needs no package of MADSci; `twin.py` runs where `madsci.node_module` is installed.
"""
