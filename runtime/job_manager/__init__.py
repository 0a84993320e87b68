"""The JobManager: decides about a job and runs it on its cluster."""
