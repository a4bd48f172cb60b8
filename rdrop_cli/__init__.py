"""rdrop: fine-tune transformer text classifiers with R-Drop (Liang et al. 2021, arXiv:2106.14448)."""

__version__ = "0.1.0"
