"""CloudFormation: resource types that ministack lacks or handles in part."""
