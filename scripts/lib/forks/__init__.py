"""Commands that begin with their libraries imported, in forks of a server."""
