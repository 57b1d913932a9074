"""Users' data: conversion to arrays, batches, tables from files, the bundled digits; and sources, which stay on disk.

A source takes the place of x and y in ``fit``, ``evaluate``, ``predict`` and the estimators of ``fastact.sklearn``::

    fa.fit(net, np.load("x.npy", mmap_mode="r"), y)                 # also h5py.Dataset, zarr.Array
    fa.fit(net, fa.data.Parquet("folder", label="species"))         # extra parquet
    fa.fit(net, fa.data.Csv("table.csv", features=["a", "b"], label="c"))
    fa.fit(net, make_batches)                                       # a function, called once an epoch
    fa.fit(net, fa.data.Stream(make_batches, rows=10**6))
"""

from .arrow import Csv, Parquet
from .sources import Arrays, Source, Stream

__all__ = ["Arrays", "Csv", "Parquet", "Source", "Stream"]
