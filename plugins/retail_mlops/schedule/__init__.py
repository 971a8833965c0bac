"""What `scale_down` and `scale_up` call: the cost schedule, its record, and what can be switched off."""
