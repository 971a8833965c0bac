"""What the pipeline and the documents need: locks, licences, audits, Docker images, renderers."""
