"""Triggers: what deferred tasks wait with, in the triggerer."""
