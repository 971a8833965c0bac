"""EKS: clusters as real control planes, node groups as process nodes."""
