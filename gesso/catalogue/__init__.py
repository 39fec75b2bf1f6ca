"""What can be asked: endpoints, parameters, schedulers, styles and checkpoints, read from TOML and JSON."""
