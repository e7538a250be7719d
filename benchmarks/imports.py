"""How long an import takes, in a new process."""


class Import:
    def timeraw_import(self):
        return "import fastlogits"

    def timeraw_import_numpy(self):
        """What fastlogits cannot be faster than: it imports NumPy."""
        return "import numpy"
