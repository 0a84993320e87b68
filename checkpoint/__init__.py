"""Checkpoints: the coordinator, the protocol with the subtasks, storage, metadata and the two-phase commit.

Decisions (`coordinator`, `completed_store`, `two_phase_commit`, `assignment`, `compatibility`) are pure; only `files`,
`remote_files`, `storage` and `catalog` touch a file system. Nothing is imported here, so that `import millstream` stays fast.
"""
