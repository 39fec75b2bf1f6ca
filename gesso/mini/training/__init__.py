"""How the embedded family is taught."""
