"""What `deploy` calls: releases, their manifests and records, and the tasks of a rollout."""
