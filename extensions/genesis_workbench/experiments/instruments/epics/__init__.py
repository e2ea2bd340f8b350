"""A stage and a detector on EPICS: `stage.py` the ophyd-async device, `scan.py` the instrument that runs Bluesky plans,
`ioc.py` the simulated twin, a server of real channel access.

Channel access is configured by EPICS' own variables (EPICS_CA_ADDR_LIST and the like) in the gateway's environment.
"""
