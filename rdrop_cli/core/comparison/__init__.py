"""Compare several ways of training, with several seeds each, and test their differences. Builds on training."""
