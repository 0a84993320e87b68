"""Real services for developing: started for tests, demos and benchmarks; no part of a job ever imports this package."""
