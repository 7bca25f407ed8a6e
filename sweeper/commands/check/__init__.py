"""``sweeper check``: everything that a run would do, up to one batch."""
