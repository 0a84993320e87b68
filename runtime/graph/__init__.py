"""The compiler, pure: StreamGraph -> JobGraph -> ExecutionGraph, and the fusion of chains. Start at `compiler.py`."""
