"""IAM and STS: enforcement, and sessions that services open with a role."""
