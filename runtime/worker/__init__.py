"""The TaskManager: one process, one loop. Start at `worker.py`, then `attempt.py` and `task.py`."""
