"""Search for good settings on validation, then confirm them on test. Builds on comparison and the parts below it."""
