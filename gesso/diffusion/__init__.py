"""The mathematics of sampling: schedulers as tables of numbers, noise, guidance. Knows no model and no request."""
