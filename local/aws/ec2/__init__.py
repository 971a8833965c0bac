"""EC2: network interfaces."""
