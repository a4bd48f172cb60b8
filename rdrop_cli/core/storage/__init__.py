"""Files, locks, hashes and the hub: what is written durably and what is fetched. May import errors and schema."""
