"""Runs, comparisons and pages that the tests of reports share."""

import numpy as np

from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.report.build import write_report
from report_pages import Page

HOSTILE = '<script>alert(1)</script> </svg> &amp; "quoted" \u202eevil\u202c \x07 ' + "w" * 300


def nothing(*progress):
    """Shows no progress."""


def make(run, **options):
    written = write_report(str(run), on_progress=nothing, **options)
    return Page(written.path.read_text(encoding="utf-8")), written


def guesses(count, rng, classes=6):
    """Predictions that are as often right as they say."""
    p = rng.dirichlet(np.full(classes, 0.5), count)
    return Predictions(np.array([rng.choice(classes, p=row) for row in p]), p)
