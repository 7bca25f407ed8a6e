"""``sweeper init``: a study file to start from, of digits or of some data that it looks at."""
