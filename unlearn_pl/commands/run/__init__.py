"""What happens around a run of the command line: its folder, its lock, its summary, and how it is interrupted."""
