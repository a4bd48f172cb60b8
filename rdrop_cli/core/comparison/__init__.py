"""Several ways of training, with several seeds each, and what their difference is worth. Stands on training."""
