"""Savepoints and checkpoints as each release wrote them: `<release>/<kind>/`, and what a job started from them gives.

After a release, add its own: `python -m tests.golden.snapshots` writes the folder of the version that `pyproject.toml` names. Folders
of released versions are never written again, and the job in `job.py` is only ever added to under a new name.
"""
