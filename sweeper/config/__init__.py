"""The study file: its text, its rules, and the value that the rest of sweeper works with."""
