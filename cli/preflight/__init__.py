"""`make preflight`: check whether an AWS account is ready, before anything is created in it."""
