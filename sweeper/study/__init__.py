"""The study in Optuna: which trials there are, whose they are, how they ended. Knows no torch."""
