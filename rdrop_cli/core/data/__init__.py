"""From what a user names as data to token ids. Stands on storage; loads no torch."""
