"""From the settings of a release to a verified bundle in memory."""
