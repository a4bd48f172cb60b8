"""What rdrop does, callable from Python; nothing here prints, prompts or exits.

What may import what, tests/test_imports.py holds.
"""
