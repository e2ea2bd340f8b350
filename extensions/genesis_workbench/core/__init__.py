"""What every room stands on: identifiers, errors, units, access labels, plug-ins, the ledger, storage, HTTP.

Nothing here knows a dataset, a model or an experiment, and nothing here imports dask, xarray, panel, anywidget or
torch: the hub process imports this package, and a login must not depend on a plotting library.
"""
