"""The command line of both machines, and its logs."""
