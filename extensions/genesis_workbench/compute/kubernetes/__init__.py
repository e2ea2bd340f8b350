"""Kubernetes as jobs and Dask workers need it: its API, manifests of pods, machines, and why something waits.

Nothing here knows what a job folder or a Dask cluster is: `schedulers/kubernetes.py` and `clusters/kubernetes.py` do.
"""
