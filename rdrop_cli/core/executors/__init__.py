"""Where runs are trained and many files predicted: in this process, others on this machine, or on a Ray cluster."""
