"""What `provision` calls: the check before it starts, the bootstrap of a fresh cluster, the smoke Job."""
