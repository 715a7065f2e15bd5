"""Which items to ask about next: one function `pick(view, n, seed)` a module. Knows no store, no clock, no oracle.

A strategy sees candidates as arrays (`PoolView`) and returns row numbers with the chance each had of being picked.
"""
