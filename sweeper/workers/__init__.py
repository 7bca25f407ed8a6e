"""The processes of one machine: the agent and its workers.

The only package that joins training, study and tracking.
"""
