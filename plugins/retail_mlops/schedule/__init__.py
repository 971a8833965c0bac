"""What `scale_down` and `scale_up` call: the lock, the state to restore, what is saved."""
