"""Agents as an array of jobs of Slurm."""
