"""What several DAGs share; imports no feature package."""
