"""Publishing the best model of a run on a hub."""
