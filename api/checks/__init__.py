"""Programs that check a release from inside the cluster: smoke (permissions), verify (answers), bake (canary)."""
