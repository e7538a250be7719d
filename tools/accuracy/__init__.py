"""How near every operation is to the exact result, beside other libraries: docs/accuracy.md.

PYTHONPATH=tests:tools python -m accuracy [--quick]
"""
