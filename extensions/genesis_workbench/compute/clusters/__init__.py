"""Where Dask's workers run: one small file for each scheduler that can hold them, and what keeps them alive.

Each file gives a class over one of Dask's own ``SpecCluster`` classes. What they share (certificates, the keeper that
replaces, renews and releases workers) is in files that begin with an underscore; none of the others imports another.
"""
