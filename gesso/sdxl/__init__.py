"""The model: single files, text encoders, UNet, VAE. Knows no schedulers and no batches."""
