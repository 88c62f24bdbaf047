"""What a plan's derivative is, built once and run as a plan itself."""
