"""Measuring speed: contenders that take turns, what is measured, its tables, the same network in PyTorch.

No page needs any of it to open; `bench.load` reads what was measured.
"""
