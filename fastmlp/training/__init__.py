"""One call of fit: runs, optimizers, stopping, validation, events, checkpoints."""
