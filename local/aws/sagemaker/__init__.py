"""SageMaker: jobs as local processes, and the model registry."""
