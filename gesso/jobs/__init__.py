"""What happens to a request: priced, reserved, queued, painted, stored, charged."""
