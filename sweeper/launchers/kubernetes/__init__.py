"""Agents as an Indexed Job of Kubernetes, started once or by a CronJob.

An agent in a pod knows nothing of Kubernetes: it works on the study until the goal is reached, and
its exit code tells the Job's controller what to do with its index.
"""
