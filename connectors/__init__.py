"""Sources and sinks. `base.py` holds the protocols they all fulfil; one module or folder per outside system."""
