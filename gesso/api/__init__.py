"""How it is asked: HTTP in, HTTP out. Converts, calls jobs, converts back."""
