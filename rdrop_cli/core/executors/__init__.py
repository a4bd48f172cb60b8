"""Where the runs of a comparison are trained: in this process, in others on this machine, or on a Ray cluster."""
