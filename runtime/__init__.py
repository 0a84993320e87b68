"""What runs a job: the graph compiler (`graph`), the JobManager, the workers, and the exchange between them."""
