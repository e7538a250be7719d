"""Timings of fastlogits beside other libraries: what ``fastlogits bench`` runs.

The modules of this package import each other relatively: the asv suite in ``benchmarks/`` loads
them under another name, to measure older versions of fastlogits with the same code.
"""
