"""A run or a comparison as one HTML file: its documents go in, a page comes out. No model is loaded."""
