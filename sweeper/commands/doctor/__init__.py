"""``sweeper doctor``: find, and mend, what disagrees.

The storage is the truth about trials, their event logs about what they measured; all the rest can
be made from these.
"""
