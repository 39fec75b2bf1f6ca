"""What pictures show, measured, and what a family that paints is asked."""
