"""ECR: registry logins, permissions and scan findings."""
