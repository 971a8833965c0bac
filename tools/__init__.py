"""What the pipeline does beyond running the project: locks, licences, images on their way into the registry."""
