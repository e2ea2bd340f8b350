"""An incubator over SiLA 2: `Incubator.sila.xml` its feature, `incubator.py` the instrument, `twin.py` the simulated twin,
a real server with TLS on loopback.
"""
