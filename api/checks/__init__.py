"""Programs that check a release from inside the cluster: smoke, verify, bake."""
