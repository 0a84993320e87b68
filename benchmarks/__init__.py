"""What the runtime does per second, beside hand-written loops of the same work in the same run. `make bench`."""
