"""The tasks of the DAGs: thin shells that read and write, around pure functions."""
