"""What the words of a prompt mean: text in, a schedule of weighted parts and 75-token chunks out. No torch."""
