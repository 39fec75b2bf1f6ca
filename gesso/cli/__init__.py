"""The command line: thin commands, each a few lines over `gesso.app`."""
