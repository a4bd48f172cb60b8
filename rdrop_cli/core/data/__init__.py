"""From the data that a user names to token ids. Builds on storage; loads no torch."""
