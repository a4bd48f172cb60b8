"""What rdrop does, callable from Python; nothing here prints, prompts or exits.

tests/test_imports.py lists which part may import which.
"""
