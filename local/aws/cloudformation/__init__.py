"""CloudFormation resource types that ministack lacks."""
