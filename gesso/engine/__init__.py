"""Who steps next: the running batch, in a process of its own behind plain messages."""
