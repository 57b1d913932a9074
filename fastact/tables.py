"""``fastact.data``'s tables by a shorter name: files, what is done to columns and targets, splits, the digits."""

from .data.columns import Plan
from .data.reading import read_table
from .data.tables import Table, Text, load_digits, split_rows, standardization, stratified_split
from .data.targets import Target, choose_labels

__all__ = [
    "Plan",
    "Table",
    "Target",
    "Text",
    "choose_labels",
    "load_digits",
    "read_table",
    "split_rows",
    "standardization",
    "stratified_split",
]
