"""The processes beside the hub: the API, which is also the gate of dashboards, and the runner of experiments.

A shell around the engines of genesis_workbench: HTTP, sign-in and permissions, and nothing that an engine could do.
"""
