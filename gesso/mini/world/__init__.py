"""What the embedded family knows: things, grounds and renderings, drawn and told."""
