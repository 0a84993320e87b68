"""How records travel between subtasks: partitioning, channels with credit, encoding, connections."""
