"""On a GPU: what a step costs, whole pictures, and changes of checkpoint, with SDXL's full size and random weights."""
