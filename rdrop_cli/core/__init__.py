"""All of rdrop except its command line, for use from Python. Nothing in it prints, prompts or exits.

tests/test_imports.py lists which part may import which.
"""
