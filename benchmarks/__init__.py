"""The benchmarks: an airspeed-velocity suite, and compare.py."""
