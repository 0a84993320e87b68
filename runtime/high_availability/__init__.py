"""Who runs a job when its job manager dies: leader election, and what must outlive the leader. Start with `leadership`."""
