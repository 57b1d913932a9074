"""Measurements: errors in units in the last place, and steps written by hand to compare with."""
