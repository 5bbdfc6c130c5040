"""Ray: the session, the head node and the fleet of workers."""
