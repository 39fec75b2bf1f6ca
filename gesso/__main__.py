"""`python -m gesso` is `gesso`."""

from gesso.cli.main import main

main()
