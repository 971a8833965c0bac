"""The command line behind `make`, for the local stack and for an AWS account."""
